// A Tail on its own, after a product, or after a cube: see Elementwise, Multiply and Cube in evenbit/ops.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

// Tasks: rows.
struct Elementwise {
  FloatView in;
  FloatView factor;         // multiplied by, if there is one
  const float* cube_scale;  // of the affine map whose cube is taken, if there is one
  const float* cube_offset;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

template <int kPixels>
void elementwise_tile(const Elementwise& op, int64_t y, int64_t x, int block) {
  BlockOf tile[kPixels];
  const float* at = op.in.at(y, x) + block * kBlock;
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p, at += op.in.pixel) tile[p] = load_block(at);
  if (op.factor.base) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      const BlockOf factor = load_block(op.factor.at(y, x + p) + block * kBlock);
      EVENBIT_EACH(n) tile[p].v[n] = mul(tile[p].v[n], factor.v[n]);
    }
  }
  if (op.cube_scale) {
    const BlockOf scale = load_block(op.cube_scale + block * kBlock),
                  offset = load_block(op.cube_offset + block * kBlock);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      EVENBIT_EACH(n) {
        const F u = add(mul(tile[p].v[n], scale.v[n]), offset.v[n]);
        tile[p].v[n] = mul(mul(u, u), u);
      }
    }
  }
  finish<kPixels>(op.tail, tile, y, x, block);
}

bool writes_bits_only(const Elementwise& op) {
  const Tail& tail = op.tail;
  return tail.bits.base && !op.factor.base && !op.cube_scale && !tail.scale && !tail.bias && !tail.residual.base &&
         !has_activation(tail) && !tail.shift && !tail.out.base && !tail.quantized.base && !tail.row_sums;
}

// A row of nothing but bits, a word at a time.
void threshold_row(const Elementwise& op, int64_t y) {
  constexpr int kPerWord = kWordBits / kBlock;
  const int whole = op.blocks / kPerWord * kPerWord;
  for (int x = 0; x < op.width; ++x) {
    const float* const in = op.in.at(y, x);
    uint16_t* const out = op.tail.bits.at(y, x);
    for (int block = 0; block < whole; block += kPerWord) {
      uint64_t bits = 0, flip, valid;
      std::memcpy(&flip, op.tail.flip + block, sizeof flip);
      std::memcpy(&valid, op.tail.valid + block, sizeof valid);
      EVENBIT_UNROLL for (int c = 0; c < kWordBits; c += kLanes) {
        const F threshold = load(op.tail.threshold + block * kBlock + c);
        bits |= uint64_t{ge_mask(load(in + block * kBlock + c), threshold)} << c;
      }
      bits = (bits ^ flip) & valid;
      std::memcpy(out + block, &bits, sizeof bits);
    }
    for (int block = whole; block < op.blocks; ++block) elementwise_tile<1>(op, y, x, block);
  }
}

void elementwise(const Elementwise& op, Range tasks) {
  const bool bits_only = writes_bits_only(op);
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    if (bits_only) {
      threshold_row(op, y);
      continue;
    }
    int x = 0;
    for (; x + kConvPixels <= op.width; x += kConvPixels) {
      for (int block = 0; block < op.blocks; ++block) elementwise_tile<kConvPixels>(op, y, x, block);
    }
    for (; x < op.width; ++x) {
      for (int block = 0; block < op.blocks; ++block) elementwise_tile<1>(op, y, x, block);
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
