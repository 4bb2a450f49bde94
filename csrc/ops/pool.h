// What max and average pooling share.
#pragma once

#include "program/builder.h"

namespace evenbit {

// Adds the op that pools `in`: if `max`, by the largest value of each window, otherwise by their mean.
inline void add_pool(Builder& builder, int in, const Window& slid, bool max) {
  const IntWindow window(slid);
  const Shape shape = builder.result();
  const auto bind = [=, run = builder.kernels().pool](const Memory& memory, const Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const Pool2d work{memory.floats(in), max,
                      window.kernel_y,   window.kernel_x,
                      window.stride_y,   window.stride_x,
                      window.padding_y,  window.padding_x,
                      v.height,          v.width,
                      shape.height,      shape.width,
                      v.blocks(),        tail};
    return {[=](Range rows) { run(work, rows); }, shape.height};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit
