// The numbers of a map in another order: see Gather in evenbit/ops/gather.py.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

// Where the numbers of a map lie: number (c * height + y) * width + x at (y, x, c).
struct Numbers {
  FloatView map;
  int height;
  int width;

  EVENBIT_INLINE int64_t offset(uint64_t number) const {
    const auto x = static_cast<int64_t>(number % static_cast<uint64_t>(width));
    const auto y = static_cast<int64_t>(number / static_cast<uint64_t>(width) % static_cast<uint64_t>(height));
    const auto c = static_cast<int64_t>(number / static_cast<uint64_t>(width) / static_cast<uint64_t>(height));
    return y * map.row + x * map.pixel + c;
  }
};

// Tasks: rows.
struct Gather {
  Numbers in;
  const uint64_t* rows;
  const uint64_t* columns;
  const uint64_t* channels;
  const int64_t* row_offsets;  // the same as places in memory, if those add up to places as the numbers do; else null
  const int64_t* column_offsets;
  const int64_t* channel_offsets;
  const uint8_t* whole;  // of each block: whether its channels lie side by side in memory
  int count;             // of channels
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

BlockOf gathered(const Gather& op, int64_t y, int64_t x, int block) {
  const int first = block * kBlock, end = first + kBlock < op.count ? first + kBlock : op.count;
  alignas(64) float values[kBlock] = {};
  if (op.row_offsets) {
    const float* const at = op.in.map.base + op.row_offsets[y] + op.column_offsets[x];
    if (op.whole[block]) return load_block(at + op.channel_offsets[first]);
    for (int c = first; c < end; ++c) values[c - first] = at[op.channel_offsets[c]];
  } else {
    const uint64_t number = op.rows[y] + op.columns[x];
    for (int c = first; c < end; ++c) values[c - first] = op.in.map.base[op.in.offset(number + op.channels[c])];
  }
  return load_block(values);
}

void gather(const Gather& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      for (int block = 0; block < op.blocks; ++block) {
        BlockOf tile[1] = {gathered(op, y, x, block)};
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
