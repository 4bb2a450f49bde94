#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape Flatten::result(const Shape& in, const Scope&) const { return vector_of(in.height * in.width * in.channels); }

void Flatten::build(Builder& builder) const {
  const int in = builder.value(input);
  const int blocks = (builder.result().channels + kBlock - 1) / kBlock;
  const auto bind = [=, run = builder.kernels().flatten](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const evenbit::Flatten work{memory.floats(in), v.height, v.width, v.channels, blocks, tail};
    return {[=](Range all) { run(work, all); }};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
