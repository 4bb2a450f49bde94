#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape Cube::result(const Shape& in, const Scope& scope) const {
  scope.check_vector(scale, in.channels);
  scope.check_vector(offset, in.channels);
  return in;
}

void Cube::build(Builder& builder) const {
  const int in = builder.value(input);
  const float *const scales = builder.floats(scale), *const offsets = builder.floats(offset);
  const auto bind = [=, run = builder.kernels().elementwise](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const evenbit::Elementwise work{memory.floats(in), {}, scales, offsets, v.height, v.width, v.blocks(), tail};
    return {[=](Range rows) { run(work, rows); }, v.height};
  };
  builder.add(bind, {}, {in});
}

}  // namespace evenbit::plan
