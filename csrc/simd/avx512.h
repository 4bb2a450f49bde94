// AVX-512 with VPOPCNTDQ: popcount of 64-bit lanes in hardware (Intel since Ice Lake, AMD since Zen 4).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace evenbit {
namespace {

using F = __m512;
using U = __m512i;
constexpr int kLanes = 16;
constexpr int kWordLanes = 8;
// 32 registers: 16 for the sums of a tile, the rest for weights, inputs and what is in flight.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 2;
constexpr int kConvPixels = 4;
constexpr int kConvBlocks = 4;

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vpopcntdq");
}

inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F v) { _mm512_storeu_ps(p, v); }
inline F broadcast(float v) { return _mm512_set1_ps(v); }
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F larger(F a, F b) { return _mm512_max_ps(a, b); }
inline F smaller(F a, F b) { return _mm512_min_ps(a, b); }
inline F absolute(F v) { return _mm512_abs_ps(v); }
inline F select_ge_zero(F v, F other) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GE_OQ), other, v);
}
inline uint32_t ge_mask(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }

inline U load_words(const uint64_t* p) { return _mm512_loadu_si512(p); }
inline U broadcast_word(uint64_t v) { return _mm512_set1_epi64(static_cast<int64_t>(v)); }
inline void opaque(U& v) { asm volatile("" : "+v"(v)); }
inline U zero_words() { return _mm512_setzero_si512(); }
inline U add_popcount_xor(U sum, U a, U b) {
  return _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(a, b)));
}
inline F dot_from_popcount(int64_t fan_in, const U* sums) {
  const U k = _mm512_set1_epi64(fan_in);
  const __m256 low = _mm512_cvtepi64_ps(_mm512_sub_epi64(k, _mm512_slli_epi64(sums[0], 1)));
  const __m256 high = _mm512_cvtepi64_ps(_mm512_sub_epi64(k, _mm512_slli_epi64(sums[1], 1)));
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

}  // namespace
}  // namespace evenbit
