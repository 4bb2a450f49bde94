// Softmax of each pixel over its channels: see Softmax in evenbit/ops/softmax.py.
#pragma once

#include <cstring>

#include "kernels/lane_sum.h"

namespace evenbit {

// Tasks: rows.
struct Softmax {
  FloatView in;
  int channels;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

// 2^f for f in [-1/2, 1/2]: see EXP2 there.
constexpr float kExp2[] = {1.0f,           0.693147206f,   0.240226469f,   0.0555032878f,
                           0.00961848896f, 0.00133999315f, 0.000153458113f};

// The exponentials of a block of numbers of at most 0.
BlockOf exponentials(const BlockOf& v) {
  constexpr float kHalfEven = 12582912.0f;  // 1.5 * 2^23: floats of this size lie 1 apart, so that adding it rounds
  alignas(64) float values[kBlock], scales[kBlock];
  BlockOf e;
  EVENBIT_EACH(n) {
    // Lanes past the last channel may hold anything; of a NaN, the second argument is taken.
    const F scaled = smaller(broadcast(0.0f), mul(v.v[n], broadcast(1.44269504f)));
    const F z = larger(broadcast(-120.0f), scaled);
    const F whole = add(add(z, broadcast(kHalfEven)), broadcast(-kHalfEven));
    store(values + n * kLanes, whole);
    e.v[n] = polynomial(kExp2, add(z, mul(whole, broadcast(-1.0f))));
  }
  for (int lane = 0; lane < kBlock; ++lane) {
    const auto exponent = values[lane] >= -120.0f ? static_cast<int32_t>(values[lane]) : -120;  // not of a NaN
    const uint32_t bits = static_cast<uint32_t>(exponent + 127) << 23;
    std::memcpy(scales + lane, &bits, sizeof bits);
  }
  EVENBIT_EACH(n) e.v[n] = mul(e.v[n], load(scales + n * kLanes));
  return e;
}

float largest_of(const float* in, int channels) {
  float largest = -__builtin_inff();
  for (int c = 0; c < channels; ++c) largest = in[c] > largest ? in[c] : largest;
  return largest;
}

void softmax(const Softmax& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      const float* const in = op.in.at(y, x);
      const F minus = broadcast(-largest_of(in, op.channels));
      const auto of_block = [&](int block) {
        BlockOf v = load_part(in + int64_t{block} * kBlock, op.channels - block * kBlock);
        EVENBIT_EACH(n) v.v[n] = add(v.v[n], minus);
        return exponentials(v);
      };
      BlockOf lanes = zero_block();
      for (int block = 0; block < op.blocks; ++block) {
        BlockOf e = of_block(block);
        if (const int left = op.channels - block * kBlock; left < kBlock) {
          alignas(64) float values[kBlock];
          store_block(values, e);
          e = load_part(values, left);
        }
        EVENBIT_EACH(n) lanes.v[n] = add(lanes.v[n], e.v[n]);
      }
      const F total = broadcast(sum_of(lanes));
      for (int block = 0; block < op.blocks; ++block) {
        BlockOf tile[1] = {of_block(block)};
        EVENBIT_EACH(n) tile[0].v[n] = div(tile[0].v[n], total);
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
