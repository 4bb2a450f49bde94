#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape Threshold::result(const Shape& in, const Scope& scope) const {
  require(in == vector_of(in.channels), "needs a vector, but '" + input + "' is " + text(in));
  const Tensor& scales = scope.tensor(scale, Type::kFloat, {in.channels});
  scope.check_vector(offset, in.channels);
  const Tensor& flipped = scope.flips(flip, in.channels);
  for (int c = 0; c < in.channels; ++c) {
    const bool is_flipped = element<uint64_t>(flipped, c / kWordBits) >> c % kWordBits & 1;
    require(is_flipped == (element<float>(scales, c) < 0),
            "'" + flip + "' is not set exactly where '" + scale + "' is negative");
  }
  return in;
}

void Threshold::build(Builder& builder) const {
  const int in = builder.value(input);
  const float *const scales = builder.floats(scale), *const offsets = builder.floats(offset);
  const uint16_t* const flipped = builder.flips(flip);
  const auto bind = [=, run = builder.kernels().threshold](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const evenbit::Threshold work{memory.floats(in).base, scales, offsets, flipped, memory.value(in).blocks(), tail};
    return {[=](Range all) { run(work, all); }};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
