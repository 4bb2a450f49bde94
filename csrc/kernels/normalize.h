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

// Pixels from column x on that are worked on together: a block, or what is left of the row.
inline int pixels_from(const Normalize& op, int x) { return op.width - x < kBlock ? op.width - x : kBlock; }

// These pixels of row y in a plane, a lane each; clears `finite` if one is not. Lanes past the last column are 0.
inline BlockOf load_pixels(const Normalize& op, int channel, int64_t y, int x, bool& finite) {
  const int count = pixels_from(op, x);
  const int64_t at = (int64_t{channel} * op.height + y) * op.width + x;
  BlockOf v;
  if (op.floats && count == kBlock) {
    v = load_block(op.floats + at);
  } else {
    alignas(64) float values[kBlock] = {};
    for (int p = 0; p < count; ++p) values[p] = op.floats ? op.floats[at + p] : static_cast<float>(op.bytes[at + p]);
    v = load_block(values);
  }
  if (op.bytes) EVENBIT_EACH(n) v.v[n] = div(v.v[n], broadcast(255.0f));
  EVENBIT_EACH(n) finite &= all_finite(v.v[n]);
  return v;
}

// One block of channels of these pixels. The lanes of `pixels` past the last channel are 0.
bool normalize_pixels(const Normalize& op, int64_t y, int x, int block, float (&pixels)[kBlock][kBlock]) {
  const int lanes = op.channels - block * kBlock < kBlock ? op.channels - block * kBlock : kBlock;
  const int count = pixels_from(op, x);
  bool finite = true;
  for (int lane = 0; lane < lanes; ++lane) {
    alignas(64) float plane[kBlock];
    store_block(plane, load_pixels(op, block * kBlock + lane, y, x, finite));
    for (int p = 0; p < kBlock; ++p) pixels[p][lane] = plane[p];
  }
  static_assert(kBlock % kConvPixels == 0, "only the last pixels of a row are fewer than a tile");
  int p = 0;
  for (; p + kConvPixels <= count; p += kConvPixels) {
    BlockOf tile[kConvPixels];
    EVENBIT_UNROLL for (int i = 0; i < kConvPixels; ++i) tile[i] = load_block(pixels[p + i]);
    finish<kConvPixels>(op.tail, tile, y, x + p, block);
  }
  for (; p < count; ++p) {
    BlockOf tile[1] = {load_block(pixels[p])};
    finish<1>(op.tail, tile, y, x + p, block);
  }
  return finite;
}

bool writes_integers_only(const Tail& tail) {
  return tail.quantized.base && !tail.residual.base && !has_activation(tail) && !tail.shift && !tail.out.base &&
         !tail.row_sums && !tail.bits.base;
}

// All channels of these pixels, whose Tail is scale, bias and integers: a lane is a pixel, not a channel.
bool quantize_pixels(const Normalize& op, int64_t y, int x) {
  constexpr int kBytes = kByteUnits ? 1 : 2;
  const QuantizedView& to = op.tail.quantized;
  const int count = pixels_from(op, x);
  const F multiplier = broadcast(to.multiplier), low = broadcast(-127.0f), high = broadcast(127.0f);
  bool finite = true;
  for (int c = 0; c < op.channels; ++c) {
    BlockOf v = load_pixels(op, c, y, x, finite);
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
    for (int block = 0; block < op.blocks; ++block) {
      alignas(64) float pixels[kBlock][kBlock] = {};
      for (int64_t y = tasks.begin; y < tasks.end; ++y) {
        for (int x = 0; x < op.width; x += kBlock) finite &= normalize_pixels(op, y, x, block, pixels);
      }
    }
  }
  if (!finite) __atomic_store_n(op.finite, false, __ATOMIC_RELAXED);  // several threads may tell it
}

}  // namespace
#endif

}  // namespace evenbit
