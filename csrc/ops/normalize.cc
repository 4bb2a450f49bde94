#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape Normalize::result(const Shape& in, const Scope&) const { return in; }

void Normalize::build(Builder& builder) const {
  const Shape images = builder.result();
  const int blocks = (images.channels + kBlock - 1) / kBlock;
  const auto bind = [=, run = builder.kernels().normalize](const Memory& memory, const evenbit::Tail& tail) -> Step {
    Input& input = memory.input();
    const evenbit::Normalize work{nullptr,      nullptr, images.channels, images.height,
                                  images.width, blocks,  nullptr,         tail};
    const auto rows = [=, &input](Range range) {
      evenbit::Normalize now = work;
      now.floats = input.floats;
      now.bytes = input.bytes;
      now.finite = &input.finite;
      run(now, range);
    };
    return {rows, images.height};
  };
  builder.add(bind, {});
}

}  // namespace evenbit::plan
