// NEON as every 64-bit ARM has it (Armv8-A, no extension): popcount of bytes, added up pairwise.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace evenbit {
namespace {

using F = float32x4_t;
using U = uint64x2_t;
constexpr int kLanes = 4;
constexpr int kWordLanes = 2;
// 32 registers: 16 for the sums of a tile, the rest for weights, inputs and what is in flight.
constexpr int kBinaryPixels = 2;
constexpr int kBinaryBlocks = 1;
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
inline F select_ge_zero(F v, F other) { return vbslq_f32(vcgezq_f32(v), v, other); }
inline uint32_t ge_mask(F a, F b) {
  constexpr uint32_t kBits[] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(kBits)));
}

inline U load_words(const uint64_t* p) { return vld1q_u64(p); }
inline U broadcast_word(uint64_t v) { return vdupq_n_u64(v); }
inline void opaque(U& v) { asm volatile("" : "+w"(v)); }
inline U zero_words() { return vdupq_n_u64(0); }
// A word's count is kept as two, one for each of its halves: adding them together can wait until the end.
inline U add_popcount_xor(U sum, U a, U b) {
  const uint16x8_t counts = vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b))));
  return vreinterpretq_u64_u32(vpadalq_u16(vreinterpretq_u32_u64(sum), counts));
}
inline F dot_from_popcount(int64_t fan_in, const U* sums) {
  const uint32x4_t counts = vpaddq_u32(vreinterpretq_u32_u64(sums[0]), vreinterpretq_u32_u64(sums[1]));
  const int32x4_t k = vdupq_n_s32(static_cast<int32_t>(fan_in));
  return vcvtq_f32_s32(vsubq_s32(k, vreinterpretq_s32_u32(vshlq_n_u32(counts, 1))));
}

}  // namespace
}  // namespace evenbit
