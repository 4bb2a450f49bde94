// A map as a vector: see Flatten in evenbit/ops/flatten.py.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

// out[(c * height + y) * width + x] = in[y, x, c]. Tasks: one.
struct Flatten {
  FloatView in;
  int height;
  int width;
  int channels;
  int blocks;  // of the output
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

void flatten(const Flatten& op, Range) {
  int y = 0, x = 0, c = 0;
  for (int block = 0; block < op.blocks; ++block) {
    alignas(64) float values[kBlock] = {};
    for (int lane = 0; lane < kBlock && c < op.channels; ++lane) {
      values[lane] = op.in.at(y, x)[c];
      if (++x < op.width) continue;
      x = 0;
      if (++y < op.height) continue;
      y = 0;
      ++c;
    }
    BlockOf tile[1] = {load_block(values)};
    finish<1>(op.tail, tile, 0, 0, block);
  }
}

}  // namespace
#endif

}  // namespace evenbit
