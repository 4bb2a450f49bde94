#include <algorithm>

#include "ops/elementwise.h"
#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape AddMap::result(const Shape& in, const Scope& scope) const {
  const Tensor& cells = scope.tensor(map, Type::kFloat, {kAny, kAny, in.channels});
  require(cells.shape[0] <= in.height && cells.shape[1] <= in.width,
          "'" + map + "' has " + std::to_string(cells.shape[0]) + "x" + std::to_string(cells.shape[1]) +
              " cells, but the map has " + std::to_string(in.height) + "x" + std::to_string(in.width));
  return in;
}

void AddMap::build(Builder& builder) const {
  const int in = builder.value(input);
  // Cells are laid out as the pixels of a row, so that the kernel reads a row as it is.
  const auto numbers = builder.copied<float>(map);
  const Shape shape = builder.result();
  const auto size = [](int64_t of) { return static_cast<uint64_t>(of); };
  const uint64_t height = size(shape.height), width = size(shape.width), channels = size(shape.channels);
  const uint64_t rows = size(builder.tensor(map).shape[0]), columns = size(builder.tensor(map).shape[1]);
  const uint64_t pixel = round_up(channels, kBlock);
  builder.check_room(rows * width * pixel * sizeof(float));
  Aligned<float> laid_out(rows * width * pixel);
  for (uint64_t i = 0; i < rows * width; ++i) {
    const uint64_t cell = i / width * columns + i % width * columns / width;
    std::copy_n(numbers.begin() + static_cast<int64_t>(cell * channels), channels, laid_out.data() + i * pixel);
  }
  const float* const base = builder.keep(std::move(laid_out));
  Aligned<const float*> starts(height);
  for (uint64_t y = 0; y < height; ++y) starts[y] = base + y * rows / height * width * pixel;
  const ConstantView addend{builder.keep(std::move(starts)), static_cast<int64_t>(pixel)};
  const auto bind = [=, run = builder.kernels().elementwise](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    evenbit::Elementwise work{memory.floats(in), {}, nullptr, nullptr, v.height, v.width, v.blocks(), tail};
    work.addend = addend;
    return {[=](Range rows) { run(work, rows); }, v.height};
  };
  builder.add(bind, {}, {in});
}

}  // namespace evenbit::plan
