// Maps side by side: see Concat in evenbit/ops/concat.py.
#pragma once

#include <cstring>

#include "kernels/tail.h"

namespace evenbit {

// Neighbouring channels of one map that become channels of one block of a concatenation.
struct Piece {
  FloatView from;  // at its first channel
  int lane;        // in the block
  int count;       // of channels
  int block;
  bool ends_block;
};

// Channels of several maps, side by side. Tasks: rows.
struct Concat {
  const Piece* pieces;
  int count;
  int height;
  int width;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

void concat(const Concat& op, Range tasks) {
  alignas(64) float values[kBlock] = {};
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      for (int i = 0; i < op.count; ++i) {
        const Piece& piece = op.pieces[i];
        std::memcpy(values + piece.lane, piece.from.at(y, x), piece.count * sizeof(float));
        if (!piece.ends_block) continue;
        BlockOf tile[1] = {load_block(values)};
        finish<1>(op.tail, tile, y, x, piece.block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
