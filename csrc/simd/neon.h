// NEON as every 64-bit ARM has it (Armv8-A, no extension): popcount of bytes, added up pairwise.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace evenbit {
namespace {

using F = float32x4_t;
using U = uint32x4_t;
constexpr int kLanes = 4;
// 32 registers: 16 for the sums of a tile, the rest for weights, inputs and what is in flight.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 1;
#define EVENBIT_BINARY_TILES(TILE) TILE(4, 1)
constexpr int kConvPixels = 4;
constexpr int kConvBlocks = 1;

bool supported() { return true; }

inline F load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, F v) { vst1q_f32(p, v); }
inline F broadcast(float v) { return vdupq_n_f32(v); }
inline F add(F a, F b) { return vaddq_f32(a, b); }
inline F mul(F a, F b) { return vmulq_f32(a, b); }
inline F div(F a, F b) { return vdivq_f32(a, b); }
// Not vmaxq, which gives NaN where one of them is, and of two zeros the positive one.
inline F larger(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline F smaller(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline F absolute(F v) { return vabsq_f32(v); }
inline F root(F v) { return vsqrtq_f32(v); }
inline F prelu(F v, F slope) { return vbslq_f32(vcgezq_f32(v), v, vmulq_f32(v, slope)); }
inline bool all_finite(F v) { return vminvq_u32(vceqzq_f32(vsubq_f32(v, v))) != 0; }
inline uint32_t ge_mask(F a, F b) {
  constexpr uint32_t kBits[] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(kBits)));
}

inline U load_units(const uint32_t* p) { return vld1q_u32(p); }
inline U load_bytes_as_units(const uint8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, sizeof four);
  return vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
}
inline U broadcast_unit(uint32_t v) { return vdupq_n_u32(v); }
inline U add_units(U a, U b) { return vaddq_u32(a, b); }
inline F to_floats(U v) { return vcvtq_f32_s32(vreinterpretq_s32_u32(v)); }
inline void opaque(U& v) { asm volatile("" : "+w"(v)); }
inline U zero_counts() { return vdupq_n_u32(0); }
inline U add_popcount_xor(U sum, U a, U b) {
  return vpadalq_u16(sum, vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u32(veorq_u32(a, b)))));
}
using HalfUnit = uint16_t;
inline U add_popcount_xor_half(U sum, U a, U b) { return add_popcount_xor(sum, a, b); }
inline F dot_from_count(float fan_in, U count) {
  const U k = vdupq_n_u32(static_cast<uint32_t>(fan_in));
  return to_floats(vsubq_u32(k, vshlq_n_u32(count, 1)));
}

// Products of bytes that are added up in fours, SDOT, are an extension.
constexpr bool kByteUnits = false;
constexpr bool kTwoResiduals = true;
inline U add_dot(U sum, U a, U w) {
  const int16x8_t x = vreinterpretq_s16_u32(a), y = vreinterpretq_s16_u32(w);
  const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
  return vaddq_u32(sum, vreinterpretq_u32_s32(vpaddq_s32(low, high)));
}
inline void store_rounded(uint8_t* p, const F (&v)[4]) {
  for (int i = 0; i < 4; i += 2) {
    const int16x4_t low = vmovn_s32(vcvtnq_s32_f32(v[i]));
    vst1q_u8(p + 8 * i, vreinterpretq_u8_s16(vmovn_high_s32(low, vcvtnq_s32_f32(v[i + 1]))));
  }
}

}  // namespace
}  // namespace evenbit
