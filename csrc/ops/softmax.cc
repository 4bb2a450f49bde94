#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape Softmax::result(const Shape& in, const Scope&) const { return in; }

void Softmax::build(Builder& builder) const {
  const int in = builder.value(input);
  const auto bind = [=, run = builder.kernels().softmax](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const evenbit::Softmax work{memory.floats(in), v.channels, v.height, v.width, v.blocks(), tail};
    return {[=](Range rows) { run(work, rows); }, v.height};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
