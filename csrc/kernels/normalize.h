// The images' way in: see Normalize in evenbit/ops/normalize.py.
#pragma once

#include <cstring>

#include "kernels/tail.h"

namespace evenbit {

// Planes of an image, float32 or uint8 (exactly one is not null), to a float map. Tasks: rows.
struct Normalize {
  const float* floats;
  const uint8_t* bytes;
  int channels;
  int height;
  int width;
  int blocks;
  bool* finite;  // set to false where a pixel is not
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

// Gathers one block of channels of kPixels neighbouring pixels from their planes; returns whether all are finite.
template <int kPixels>
bool normalize_tile(const Normalize& op, int64_t y, int64_t x, int block) {
  const int64_t plane = int64_t{op.height} * op.width;
  const int lanes = op.channels - block * kBlock < kBlock ? op.channels - block * kBlock : kBlock;
  alignas(64) float values[kPixels][kBlock] = {};
  bool finite = true;
  for (int lane = 0; lane < lanes; ++lane) {
    const int64_t at = (block * kBlock + lane) * plane + y * op.width + x;
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      const float v = op.floats ? op.floats[at + p] : static_cast<float>(op.bytes[at + p]) / 255.0f;
      finite &= v - v == 0.0f;  // NaN for infinities and NaN
      values[p][lane] = v;
    }
  }
  BlockOf tile[kPixels];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) tile[p] = load_block(values[p]);
  finish<kPixels>(op.tail, tile, y, x, block);
  return finite;
}

bool writes_integers_only(const Tail& tail) {
  return tail.quantized.base && !tail.residual.base && !has_activation(tail) && !tail.shift && !tail.out.base &&
         !tail.row_sums && !tail.bits.base;
}

// Up to one block of neighbouring pixels whose Tail is scale, bias and integers: a lane is a pixel, not a channel.
bool quantize_pixels(const Normalize& op, int64_t y, int x) {
  constexpr int kBytes = kByteUnits ? 1 : 2;
  const QuantizedView& to = op.tail.quantized;
  const int count = op.width - x < kBlock ? op.width - x : kBlock;
  const F multiplier = broadcast(to.multiplier), low = broadcast(-127.0f), high = broadcast(127.0f);
  bool finite = true;
  for (int c = 0; c < op.channels; ++c) {
    const int64_t at = (int64_t{c} * op.height + y) * op.width + x;
    alignas(64) float values[kBlock] = {};
    for (int p = 0; p < count; ++p) values[p] = op.floats ? op.floats[at + p] : static_cast<float>(op.bytes[at + p]);
    BlockOf v = load_block(values);
    if (op.bytes) EVENBIT_EACH(n) v.v[n] = div(v.v[n], broadcast(255.0f));
    EVENBIT_EACH(n) finite &= all_finite(v.v[n]);
    if (op.tail.scale) EVENBIT_EACH(n) v.v[n] = mul(v.v[n], broadcast(op.tail.scale[c]));
    if (op.tail.bias) EVENBIT_EACH(n) v.v[n] = add(v.v[n], broadcast(op.tail.bias[c]));
    EVENBIT_EACH(n) v.v[n] = smaller(larger(mul(v.v[n], multiplier), low), high);
    uint8_t rounded[kBlock * kBytes];
    store_rounded(rounded, v.v);
    uint8_t* out = to.base + y * to.row + x * to.pixel + c * kBytes;
    for (int p = 0; p < count; ++p, out += to.pixel) std::memcpy(out, rounded + p * kBytes, kBytes);
  }
  return finite;
}

void normalize(const Normalize& op, Range tasks) {
  bool finite = true;
  if (writes_integers_only(op.tail)) {
    for (int64_t y = tasks.begin; y < tasks.end; ++y) {
      for (int x = 0; x < op.width; x += kBlock) finite &= quantize_pixels(op, y, x);
    }
  } else {
    for (int64_t y = tasks.begin; y < tasks.end; ++y) {
      for (int block = 0; block < op.blocks; ++block) {
        int x = 0;
        for (; x + kConvPixels <= op.width; x += kConvPixels) finite &= normalize_tile<kConvPixels>(op, y, x, block);
        for (; x < op.width; ++x) finite &= normalize_tile<1>(op, y, x, block);
      }
    }
  }
  if (!finite) __atomic_store_n(op.finite, false, __ATOMIC_RELAXED);  // several threads may tell it
}

}  // namespace
#endif

}  // namespace evenbit
