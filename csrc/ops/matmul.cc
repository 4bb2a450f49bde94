#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape MatMul::result(const Shape& in, const Scope& scope) const {
  const Shape& right = scope.other_map(other);
  require(right.height == in.height && right.width == in.channels,
          "multiplies " + text(in) + " by " + text(right) + ", which do not fit");
  require(product_fits({in.height, in.width, right.channels}, kMaxElements), "its map is too large");
  return {false, in.height, in.width, right.channels};
}

void MatMul::build(Builder& builder) const {
  const int in = builder.value(input), right = builder.value(other);
  const Shape shape = builder.result();
  const Kernels& kernels = builder.kernels();
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const int64_t tiles = (blocks + kernels.conv_blocks - 1) / kernels.conv_blocks;
  const auto bind = [=, run = kernels.matmul](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const evenbit::MatMul work{
        memory.floats(in), memory.floats(right), memory.value(in).channels, shape.height, shape.width, blocks, tail};
    return {[=](Range tasks) { run(work, tasks); }, tiles * shape.height};
  };
  builder.add(bind, {in, right});
}

}  // namespace evenbit::plan
