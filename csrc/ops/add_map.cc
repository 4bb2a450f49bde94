#include "ops/elementwise.h"
#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape AddMap::result(const Shape& in, const Scope& scope) const {
  scope.tensor(map, Type::kFloat, {in.height, in.width, in.channels});
  return in;
}

void AddMap::build(Builder& builder) const {
  const int in = builder.value(input);
  const auto numbers = builder.copied<float>(map);
  const Shape shape = builder.result();
  const uint64_t channels = static_cast<uint64_t>(shape.channels), padded = round_up(channels, kBlock);
  Aligned<float> laid_out(numbers.size() / channels * padded);
  for (size_t i = 0; i < numbers.size(); ++i) laid_out[i / channels * padded + i % channels] = numbers[i];
  const auto pixel = static_cast<int64_t>(padded);
  const ConstantView addend{builder.keep(std::move(laid_out)), pixel * shape.width, pixel};
  const auto bind = [=, run = builder.kernels().elementwise](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    evenbit::Elementwise work{memory.floats(in), {}, nullptr, nullptr, v.height, v.width, v.blocks(), tail};
    work.addend = addend;
    return {[=](Range rows) { run(work, rows); }, v.height};
  };
  builder.add(bind, {}, {in});
}

}  // namespace evenbit::plan
