// Pooling: see MaxPool and AvgPool in evenbit/ops.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

// Tasks: output rows.
struct Pool2d {
  FloatView in;
  bool max;  // the largest value, else the mean: the sum in (ky, kx) order from 0, divided by the number of values
  int kh;
  int kw;
  int stride_y;
  int stride_x;
  int pad_y;  // windows are cut at the edge
  int pad_x;
  int in_height;
  int in_width;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

// kPixels neighbouring windows, of which none, if there are several, is cut at the left or right edge. A window always
// lies on the map in part.
template <int kPixels>
void pool_tile(const Pool2d& op, int64_t y, int64_t x, int block) {
  const int64_t top = y * op.stride_y - op.pad_y, left = x * op.stride_x - op.pad_x;
  const int64_t first_y = top < 0 ? 0 : top, first_x = left < 0 ? 0 : left;
  const int64_t end_y = top + op.kh < op.in_height ? top + op.kh : op.in_height;
  const int64_t end_x = left + op.kw < op.in_width ? left + op.kw : op.in_width;
  const int64_t step = op.stride_x * op.in.pixel;
  BlockOf tile[kPixels];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    EVENBIT_EACH(n) tile[p].v[n] = broadcast(op.max ? -__builtin_inff() : 0.0f);
  }
  for (int64_t iy = first_y; iy < end_y; ++iy) {
    const float* at = op.in.at(iy, first_x) + block * kBlock;
    for (int64_t ix = first_x; ix < end_x; ++ix, at += op.in.pixel) {
      EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
        const BlockOf tap = load_block(at + p * step);
        EVENBIT_EACH(n) { tile[p].v[n] = op.max ? larger(tap.v[n], tile[p].v[n]) : add(tile[p].v[n], tap.v[n]); }
      }
    }
  }
  if (!op.max) {
    const int64_t columns = kPixels > 1 ? op.kw : end_x - first_x;
    const F count = broadcast(static_cast<float>((end_y - first_y) * columns));
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = div(tile[p].v[n], count);
  }
  finish<kPixels>(op.tail, tile, y, x, block);
}

void pool(const Pool2d& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width;) {
      const int64_t left = int64_t{x} * op.stride_x - op.pad_x;
      const int64_t right = left + (kConvPixels - 1) * int64_t{op.stride_x} + op.kw;
      const bool several = x + kConvPixels <= op.width && left >= 0 && right <= op.in_width;
      for (int block = 0; block < op.blocks; ++block) {
        several ? pool_tile<kConvPixels>(op, y, x, block) : pool_tile<1>(op, y, x, block);
      }
      x += several ? kConvPixels : 1;
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
