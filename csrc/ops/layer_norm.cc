#include <limits>

#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape LayerNorm::result(const Shape& in, const Scope&) const {
  require(epsilon > 0 && epsilon <= std::numeric_limits<float>::max() && static_cast<float>(epsilon) == epsilon,
          "its epsilon is not a positive float32");
  return in;
}

void LayerNorm::build(Builder& builder) const {
  const int in = builder.value(input);
  const auto bind = [=, run = builder.kernels().layer_norm, epsilon = static_cast<float>(epsilon)](
                        const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const evenbit::LayerNorm work{memory.floats(in), epsilon, v.channels, v.height, v.width, v.blocks(), tail};
    return {[=](Range rows) { run(work, rows); }, v.height};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
