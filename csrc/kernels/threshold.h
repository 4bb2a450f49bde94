// The zero point of an image as a threshold: see Threshold in evenbit/ops/threshold.py.
#pragma once

#include <limits>

#include "kernels/tail.h"

namespace evenbit {

// t = (-offset - in) / scale; constant where scale is 0; the next float above where the compare is flipped. Tasks: one.
struct Threshold {
  const float* in;
  const float* scale;
  const float* offset;
  const uint16_t* flip;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

void threshold(const Threshold& op, Range) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int block = 0; block < op.blocks; ++block) {
    alignas(64) float values[kBlock];
    for (int lane = 0; lane < kBlock; ++lane) {
      const int c = block * kBlock + lane;
      float t = (-op.offset[c] - op.in[c]) / op.scale[c];
      if (op.scale[c] == 0.0f) t = op.offset[c] + op.in[c] >= 0.0f ? -kInfinity : kInfinity;
      values[lane] = op.flip[block] >> lane & 1 ? __builtin_nextafterf(t, kInfinity) : t;
    }
    BlockOf tile[1] = {load_block(values)};
    finish<1>(op.tail, tile, 0, 0, block);
  }
}

}  // namespace
#endif

}  // namespace evenbit
