#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {
namespace {

int64_t check_places(const Scope& scope, const std::string& places, const std::string& weights, int size,
                     const std::string& input) {
  const Tensor& tensor = scope.tensor(places, Type::kWords, {kAny, 2});
  scope.tensor(weights, Type::kFloat, tensor.shape);
  for (int64_t i = 0; i < 2 * tensor.shape[0]; ++i) {
    require(element<uint64_t>(tensor, i) < static_cast<uint64_t>(size), "reads past the end of '" + input + "'");
  }
  return tensor.shape[0];
}

const Neighbours* neighbours(Builder& builder, const std::string& places, const std::string& weights) {
  const auto numbers = builder.copied<uint64_t>(places);
  const auto factors = builder.copied<float>(weights);
  Aligned<Neighbours> all(numbers.size() / 2);
  for (size_t i = 0; i < numbers.size(); ++i) {
    all[i / 2].places[i % 2] = static_cast<int64_t>(numbers[i]);
    all[i / 2].weights[i % 2] = factors[i];
  }
  return builder.keep(std::move(all));
}

}  // namespace

Shape Interpolate::result(const Shape& in, const Scope& scope) const {
  const int64_t height = check_places(scope, rows, row_weights, in.height, input);
  const int64_t width = check_places(scope, columns, column_weights, in.width, input);
  require(product_fits({height, width, in.channels}, kMaxElements), "its map is too large");
  return {false, static_cast<int>(height), static_cast<int>(width), in.channels};
}

void Interpolate::build(Builder& builder) const {
  const int in = builder.value(input);
  const Shape shape = builder.result();
  const Neighbours* const of_rows = neighbours(builder, rows, row_weights);
  const Neighbours* const of_columns = neighbours(builder, columns, column_weights);
  const auto bind = [=, run = builder.kernels().interpolate](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const evenbit::Interpolate work{memory.floats(in),         of_rows, of_columns, shape.height, shape.width,
                                    memory.value(in).blocks(), tail};
    return {[=](Range range) { run(work, range); }, shape.height};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
