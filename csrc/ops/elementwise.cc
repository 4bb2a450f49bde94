#include "ops/elementwise.h"

#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit {

Bind elementwise(const Kernels& kernels, int in, int factor) {
  return [=, run = kernels.elementwise](const Memory& memory, const Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const Elementwise work{
        memory.floats(in), memory.spread(factor), nullptr, nullptr, v.height, v.width, v.blocks(), tail};
    return {[=](Range rows) { run(work, rows); }, v.height};
  };
}

namespace plan {

Shape Elementwise::result(const Shape& in, const Scope&) const { return in; }

void Elementwise::build(Builder& builder) const {
  const int in = builder.value(input);
  builder.add(elementwise(builder.kernels(), in), {}, {in});
}

}  // namespace plan
}  // namespace evenbit
