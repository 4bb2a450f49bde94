// AVX2: bytes are looked up in registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace evenbit {
namespace {

using F = __m256;
using U = __m256i;
constexpr int kLanes = 8;
using B = __m256i;
constexpr int kByteLanes = 32;
// 16 registers: 8 for the sums of a tile.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 4;
#define EVENBIT_BINARY_TILES(TILE) TILE(4, 4) TILE(8, 2) TILE(8, 1)
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
inline F root(F v) { return _mm256_sqrt_ps(v); }
inline F prelu(F v, F slope) {
  return _mm256_blendv_ps(_mm256_mul_ps(v, slope), v, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GE_OQ));
}
inline bool all_finite(F v) {
  return _mm256_movemask_ps(_mm256_cmp_ps(_mm256_sub_ps(v, v), _mm256_setzero_ps(), _CMP_EQ_OQ)) == 0xFF;
}
inline uint32_t ge_mask(F a, F b) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ))); }

inline U load_units(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline U load_bytes_as_units(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline U broadcast_unit(uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
inline U add_units(U a, U b) { return _mm256_add_epi32(a, b); }
inline F to_floats(U v) { return _mm256_cvtepi32_ps(v); }
constexpr bool kByteUnits = false;
constexpr bool kTwoResiduals = true;
inline U add_dot(U sum, U a, U w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w)); }
inline void store_rounded(uint8_t* p, const F (&v)[2]) {
  const U q = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(q, 0xD8));
}
inline void opaque(U& v) { asm volatile("" : "+x"(v)); }
inline U zero_counts() { return _mm256_setzero_si256(); }
// Counts of bits by a table of 16 nibbles (Mula, Kurz and Lemire, Faster population counts using AVX2 instructions,
// 2018), the bytes of a lane summed by multiplying with ones.
inline U add_popcount_xor(U sum, U a, U b) {
  const U table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const U nibble = _mm256_set1_epi8(15), x = _mm256_xor_si256(a, b);
  const U low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
  const U high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
  const U pairs = _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline F dot_from_count(float fan_in, U count) {
  const U k = _mm256_set1_epi32(static_cast<int>(fan_in));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(k, _mm256_add_epi32(count, count)));
}

inline B load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline B zero_bytes() { return _mm256_setzero_si256(); }
inline B add_bytes(B a, B b) { return _mm256_add_epi8(a, b); }
inline B subtract_bytes(B a, B b) { return _mm256_sub_epi8(a, b); }
inline B upper_halves(B v) { return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15)); }
inline B broadcast_table(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
inline B join_tables(const uint8_t* const (&p)[2]) {
  const auto load = [](const uint8_t* table) { return _mm_load_si128(reinterpret_cast<const __m128i*>(table)); };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load(p[0])), load(p[1]), 1);
}
inline B look_up(B table, B index) { return _mm256_shuffle_epi8(table, index); }
inline void widen(uint16_t* counts, B sums, bool add) {
  auto* const at = reinterpret_cast<__m256i*>(counts);
  const B low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(sums));
  const B high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(sums, 1));
  _mm256_store_si256(at, add ? _mm256_add_epi16(_mm256_load_si256(at), low) : low);
  _mm256_store_si256(at + 1, add ? _mm256_add_epi16(_mm256_load_si256(at + 1), high) : high);
}
inline U load_counts(const uint16_t* p) {
  return _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}

}  // namespace
}  // namespace evenbit
