// The negation of a map: see Negate in evenbit/ops/negate.py.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

// Tasks: rows.
struct Negate {
  FloatView in;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

void negate(const Negate& op, Range tasks) {
  const F minus = broadcast(-1.0f);
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      for (int block = 0; block < op.blocks; ++block) {
        BlockOf tile[1] = {load_block(op.in.at(y, x) + block * kBlock)};
        EVENBIT_EACH(n) tile[0].v[n] = mul(tile[0].v[n], minus);
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
