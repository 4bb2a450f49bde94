// Float convolution: each output is a sum of products in (ky, kx, i) order, each product and each sum rounded.
//
// A tile is kPixels neighbouring output pixels x kBlocks blocks of outputs; all its sums advance together through the
// same order of terms, one output a lane.
#pragma once

#include "kernels/rows.h"
#include "kernels/tail.h"

namespace evenbit {

// out[y, x, o] = sum over (ky, kx, i), in this order and from 0, of
//                in[y * sy + ky, x * sx + kx, o / (outputs / groups) * channels + i] * weight[o, ky, kx, i]
//
// There are three kernels, for how the 16 outputs of a block share their inputs:
//   conv            all read the same `channels` inputs: one group, or groups of whole blocks
//   depthwise_conv  each reads its own channel: channels = 1, groups = outputs
//   grouped_conv    anything else
//
// Tasks: output rows; of `conv` (group of output blocks, output row), groups of `kernels.conv_blocks` blocks.
struct Conv {
  FloatView in;
  const float* weight;  // [output blocks][kh][kw][channels][16]
  int kh;
  int kw;
  int channels;  // of a group
  int groups;
  int outputs;
  int stride_y;
  int stride_x;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

struct ConvTile {
  static constexpr int kPixels = kConvPixels;
  static constexpr int kBlocks = kConvBlocks;
  static constexpr int kRestPixels = kPixels;
  static constexpr int kRestBlocks = 1;

  template <int kP, int kB>
  static void run(const Conv& op, int y, int x, int block) {
    BlockOf sums[kB][kP];
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) sums[b][p] = zero_block();
    }
    const int64_t step = op.stride_x * op.in.pixel;
    const int64_t block_stride = int64_t{op.kh} * op.kw * op.channels * kBlock;
    const float* weight = op.weight + block * block_stride;
    const int first = block / (op.blocks / op.groups) * op.channels;  // with groups, they are whole blocks
    for (int ky = 0; ky < op.kh; ++ky) {
      for (int kx = 0; kx < op.kw; ++kx) {
        const float* in = op.in.at(int64_t{y} * op.stride_y + ky, int64_t{x} * op.stride_x + kx) + first;
        for (int i = 0; i < op.channels; ++i, weight += kBlock) {
          BlockOf w[kB];
          EVENBIT_UNROLL for (int b = 0; b < kB; ++b) w[b] = load_block(weight + b * block_stride);
          EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
            const F a = broadcast(in[p * step + i]);
            EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
              EVENBIT_EACH(n) sums[b][p].v[n] = add(sums[b][p].v[n], mul(a, w[b].v[n]));
            }
          }
        }
      }
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) finish<kP>(op.tail, sums[b], y, x, block + b);
  }
};

void conv(const Conv& op, Range tasks) {
  if (op.groups == 1 || op.blocks / op.groups % kConvBlocks == 0) return run_tiles<ConvTile>(op, tasks);
  for (int64_t task = tasks.begin; task < tasks.end; ++task) {  // a tile of several blocks would read two groups
    const int block = static_cast<int>(task / op.height) * kConvBlocks;
    const int y = static_cast<int>(task % op.height);
    for (int b = block; b < op.blocks && b < block + kConvBlocks; ++b) row_of_tiles<ConvTile, 1>(op, y, b);
  }
}

template <int kPixels>
void depthwise_tile(const Conv& op, int64_t y, int64_t x, int block) {
  BlockOf sums[kPixels];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) sums[p] = zero_block();
  const int64_t step = op.stride_x * op.in.pixel;
  const float* weight = op.weight + int64_t{block} * op.kh * op.kw * kBlock;
  for (int ky = 0; ky < op.kh; ++ky) {
    for (int kx = 0; kx < op.kw; ++kx, weight += kBlock) {
      const float* in = op.in.at(y * op.stride_y + ky, x * op.stride_x + kx) + block * kBlock;
      const BlockOf w = load_block(weight);
      EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
        const BlockOf a = load_block(in + p * step);
        EVENBIT_EACH(n) sums[p].v[n] = add(sums[p].v[n], mul(a.v[n], w.v[n]));
      }
    }
  }
  finish<kPixels>(op.tail, sums, y, x, block);
}

void depthwise_conv(const Conv& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int block = 0; block < op.blocks; ++block) {
      int x = 0;
      for (; x + kConvPixels <= op.width; x += kConvPixels) depthwise_tile<kConvPixels>(op, y, x, block);
      for (; x < op.width; ++x) depthwise_tile<1>(op, y, x, block);
    }
  }
}

// Where the outputs of a block read inputs of several groups: its 16 sums advance together, but each picks its own
// input.
void grouped_conv(const Conv& op, Range tasks) {
  const int per_output = op.outputs / op.groups;
  const int64_t fan_in = int64_t{op.kh} * op.kw * op.channels;
  for (int block = 0; block < op.blocks; ++block) {
    int first[kBlock] = {};  // input of each output's group
    for (int lane = 0; lane < kBlock && block * kBlock + lane < op.outputs; ++lane) {
      first[lane] = (block * kBlock + lane) / per_output * op.channels;
    }
    for (int64_t y = tasks.begin; y < tasks.end; ++y) {
      for (int x = 0; x < op.width; ++x) {
        alignas(64) float sums[kBlock] = {};
        const float* weight = op.weight + block * fan_in * kBlock;
        for (int ky = 0; ky < op.kh; ++ky) {
          for (int kx = 0; kx < op.kw; ++kx) {
            const float* in = op.in.at(y * op.stride_y + ky, int64_t{x} * op.stride_x + kx);
            for (int i = 0; i < op.channels; ++i, weight += kBlock) {
              EVENBIT_UNROLL for (int lane = 0; lane < kBlock; ++lane) sums[lane] += in[first[lane] + i] * weight[lane];
            }
          }
        }
        BlockOf tile[1] = {load_block(sums)};
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
