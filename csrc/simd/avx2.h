// AVX2: popcount by a table of 16 nibbles (Mula, Kurz and Lemire, Faster population counts using AVX2 instructions,
// 2018).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace evenbit {
namespace {

using F = __m256;
using U = __m256i;
constexpr int kLanes = 8;
constexpr int kWordLanes = 4;
// 16 registers: 8 for the sums of a tile.
constexpr int kBinaryPixels = 2;
constexpr int kBinaryBlocks = 1;
constexpr int kConvPixels = 4;
constexpr int kConvBlocks = 1;

bool supported() { return __builtin_cpu_supports("avx2"); }

inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, F v) { _mm256_storeu_ps(p, v); }
inline F broadcast(float v) { return _mm256_set1_ps(v); }
inline F add(F a, F b) { return _mm256_add_ps(a, b); }
inline F mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F div(F a, F b) { return _mm256_div_ps(a, b); }
inline F larger(F a, F b) { return _mm256_max_ps(a, b); }
inline F smaller(F a, F b) { return _mm256_min_ps(a, b); }
inline F absolute(F v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
inline F select_ge_zero(F v, F other) {
  return _mm256_blendv_ps(other, v, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GE_OQ));
}
inline uint32_t ge_mask(F a, F b) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ))); }

inline U load_words(const uint64_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline U broadcast_word(uint64_t v) { return _mm256_set1_epi64x(static_cast<int64_t>(v)); }
inline void opaque(U& v) { asm volatile("" : "+x"(v)); }
inline U zero_words() { return _mm256_setzero_si256(); }
inline U add_popcount_xor(U sum, U a, U b) {
  const U table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                   0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const U nibble = _mm256_set1_epi8(15);
  const U x = _mm256_xor_si256(a, b);
  const U low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
  const U high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
  return _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
}
// Counts are below 2^24, so the low halves of the lanes hold them whole.
inline F dot_from_popcount(int64_t fan_in, const U* sums) {
  const U even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  const U low = _mm256_permutevar8x32_epi32(sums[0], even);
  const U high = _mm256_permutevar8x32_epi32(sums[1], even);
  const U counts = _mm256_blend_epi32(low, high, 0xF0);
  const U k = _mm256_set1_epi32(static_cast<int>(fan_in));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(k, _mm256_slli_epi32(counts, 1)));
}

}  // namespace
}  // namespace evenbit
