// Product of matrices: see MatMul in evenbit/ops/matmul.py.
#pragma once

#include "kernels/rows.h"
#include "kernels/tail.h"

namespace evenbit {

// out[y, x, c] = sum over i, in this order and from 0, of in[y, x, i] * other[y, i, c].
// Tasks: (group of `kernels.conv_blocks` blocks of the result, row).
struct MatMul {
  FloatView in;
  FloatView other;
  int depth;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

struct MatMulTile {
  static constexpr int kPixels = kConvPixels;
  static constexpr int kBlocks = kConvBlocks;
  static constexpr int kRestPixels = kPixels;
  static constexpr int kRestBlocks = 1;

  template <int kP, int kB>
  static void run(const MatMul& op, int y, int x, int block) {
    BlockOf sums[kB][kP];
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) sums[b][p] = zero_block();
    }
    const float* const in = op.in.at(y, x);
    const float* other = op.other.at(y, 0) + int64_t{block} * kBlock;
    for (int i = 0; i < op.depth; ++i, other += op.other.pixel) {
      BlockOf w[kB];
      EVENBIT_UNROLL for (int b = 0; b < kB; ++b) w[b] = load_block(other + b * kBlock);
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
        const F a = broadcast(in[p * op.in.pixel + i]);
        EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
          EVENBIT_EACH(n) sums[b][p].v[n] = add(sums[b][p].v[n], mul(a, w[b].v[n]));
        }
      }
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) finish<kP>(op.tail, sums[b], y, x, block + b);
  }
};

void matmul(const MatMul& op, Range tasks) { run_tiles<MatMulTile>(op, tasks); }

}  // namespace
#endif

}  // namespace evenbit
