// A Tail on its own, after a product, a sum with a constant map, or a cube: see Elementwise, Multiply, AddMap and Cube
// in evenbit/ops.
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
  ConstantView addend = {};  // added, if there is one
};

#ifdef EVENBIT_BODIES
namespace {

inline BlockOf cube(const BlockOf& x, const BlockOf& scale, const BlockOf& offset) {
  BlockOf cubed;
  EVENBIT_EACH(n) {
    const F u = add(mul(x.v[n], scale.v[n]), offset.v[n]);
    cubed.v[n] = mul(mul(u, u), u);
  }
  return cubed;
}

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
  if (op.addend.rows) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      const BlockOf addend = load_block(op.addend.at(y, x + p) + block * kBlock);
      EVENBIT_EACH(n) tile[p].v[n] = add(tile[p].v[n], addend.v[n]);
    }
  }
  if (op.cube_scale) {
    const BlockOf scale = load_block(op.cube_scale + block * kBlock);
    const BlockOf offset = load_block(op.cube_offset + block * kBlock);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) tile[p] = cube(tile[p], scale, offset);
  }
  finish<kPixels>(op.tail, tile, y, x, block);
}

// Whether a Tail makes nothing of its accumulator but bits and the sums of rows.
bool leaves_map_alone(const Tail& tail) {
  return !tail.scale && !tail.bias && !tail.residual.base && !has_activation(tail) && !tail.shift && !tail.out.base &&
         !tail.quantized.base;
}

bool writes_bits_only(const Elementwise& op) {
  return op.tail.bits.base && !op.tail.row_sums && leaves_map_alone(op.tail) && !op.factor.base && !op.cube_scale;
}

bool writes_sums_only(const Elementwise& op) {
  return op.tail.row_sums && !op.tail.bits.base && leaves_map_alone(op.tail) && !op.factor.base && !op.addend.rows;
}

// The bits of kBlocks blocks, at most a word, of each pixel of a row of nothing but bits and perhaps an addend.
template <int kBlocks, bool kAdds>
void threshold_blocks(const Elementwise& op, int64_t y, int block) {
  constexpr int kCount = kBlocks * kVectors;
  constexpr size_t kBytes = kBlocks * sizeof(uint16_t);
  F threshold[kCount];
  EVENBIT_UNROLL for (int n = 0; n < kCount; ++n) threshold[n] = load(op.tail.threshold + block * kBlock + n * kLanes);
  uint64_t flip = 0, valid = 0;
  std::memcpy(&flip, op.tail.flip + block, kBytes);
  std::memcpy(&valid, op.tail.valid + block, kBytes);
  const float* in = op.in.at(y, 0) + block * kBlock;
  const float* addend = kAdds ? op.addend.at(y, 0) + block * kBlock : nullptr;
  uint16_t* out = op.tail.bits.at(y, 0) + block;
  for (int x = 0; x < op.width; ++x, in += op.in.pixel, out += op.tail.bits.pixel) {
    uint64_t bits = 0;
    EVENBIT_UNROLL for (int n = 0; n < kCount; ++n) {
      F v = load(in + n * kLanes);
      if constexpr (kAdds) v = add(v, load(addend + n * kLanes));
      bits |= uint64_t{ge_mask(v, threshold[n])} << (n * kLanes);
    }
    if constexpr (kAdds) addend += op.addend.pixel;
    bits = (bits ^ flip) & valid;
    std::memcpy(out, &bits, kBytes);
  }
}

template <bool kAdds>
void threshold_row(const Elementwise& op, int64_t y) {
  constexpr int kPerWord = kWordBits / kBlock;
  int block = 0;
  for (; block + kPerWord <= op.blocks; block += kPerWord) threshold_blocks<kPerWord, kAdds>(op, y, block);
  const int rest = op.blocks - block;
  if (rest == 1) threshold_blocks<1, kAdds>(op, y, block);
  if (rest == 2) threshold_blocks<2, kAdds>(op, y, block);
  if (rest == 3) threshold_blocks<3, kAdds>(op, y, block);
}

// Sums of kRows rows side by side, so that an addition need not wait for the one before.
template <int kRows>
void sum_rows(const Elementwise& op, int64_t y) {
  for (int block = 0; block < op.blocks; ++block) {
    const int64_t c = int64_t{block} * kBlock;
    const BlockOf scale = op.cube_scale ? load_block(op.cube_scale + c) : zero_block();
    const BlockOf offset = op.cube_scale ? load_block(op.cube_offset + c) : zero_block();
    BlockOf sums[kRows];
    EVENBIT_UNROLL for (int row = 0; row < kRows; ++row) sums[row] = zero_block();
    const float* in = op.in.at(y, 0) + c;
    for (int x = 0; x < op.width; ++x, in += op.in.pixel) {
      EVENBIT_UNROLL for (int row = 0; row < kRows; ++row) {
        BlockOf v = load_block(in + row * op.in.row);
        if (op.cube_scale) v = cube(v, scale, offset);
        EVENBIT_EACH(n) sums[row].v[n] = add(sums[row].v[n], v.v[n]);
      }
    }
    float* const to = op.tail.row_sums + y * op.tail.row_sums_stride + c;
    EVENBIT_UNROLL for (int row = 0; row < kRows; ++row) store_block(to + row * op.tail.row_sums_stride, sums[row]);
  }
}

void elementwise(const Elementwise& op, Range tasks) {
  if (writes_bits_only(op)) {
    for (int64_t y = tasks.begin; y < tasks.end; ++y) {
      op.addend.rows ? threshold_row<true>(op, y) : threshold_row<false>(op, y);
    }
    return;
  }
  if (writes_sums_only(op)) {
    constexpr int kRows = kVectors <= 4 ? 4 : 1;
    int64_t y = tasks.begin;
    for (; y + kRows <= tasks.end; y += kRows) sum_rows<kRows>(op, y);
    for (; y < tasks.end; ++y) sum_rows<1>(op, y);
    return;
  }
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
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
