// Floats, and integers as large, in vectors of 512 bits: what all instruction sets of the AVX-512 family share.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace evenbit {
namespace {

using F = __m512;
using U = __m512i;
constexpr int kLanes = 16;
constexpr int kConvPixels = 4;
constexpr int kConvBlocks = 4;

inline bool has_avx512bw() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
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
inline F root(F v) { return _mm512_sqrt_ps(v); }
inline F prelu(F v, F slope) {
  return _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NGE_UQ), v, slope);
}
inline bool all_finite(F v) {
  return _mm512_cmp_ps_mask(_mm512_sub_ps(v, v), _mm512_setzero_ps(), _CMP_EQ_OQ) == 0xFFFF;
}
inline uint32_t ge_mask(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }

inline U load_units(const uint32_t* p) { return _mm512_loadu_si512(p); }
inline U load_bytes_as_units(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline U broadcast_unit(uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
inline U add_units(U a, U b) { return _mm512_add_epi32(a, b); }
inline F to_floats(U v) { return _mm512_cvtepi32_ps(v); }
inline void opaque(U& v) { asm volatile("" : "+v"(v)); }
// The only fused multiply-add: all three are integers below 2^25, so nothing is rounded.
inline F dot_from_count(float fan_in, U count) {
  return _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), _mm512_cvtepi32_ps(count), _mm512_set1_ps(fan_in));
}

}  // namespace
}  // namespace evenbit
