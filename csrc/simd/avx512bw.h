// AVX-512 without VPOPCNTDQ (Intel since Skylake-SP): bytes are looked up in registers.
#pragma once

#include "simd/avx512_float.h"

namespace evenbit {
namespace {

using B = __m512i;
constexpr int kByteLanes = 64;
// 32 registers: 16 for the sums of a tile.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 8;
#define EVENBIT_BINARY_TILES(TILE) TILE(4, 16) TILE(6, 8) TILE(8, 4)

bool supported() { return has_avx512bw(); }

inline U zero_counts() { return _mm512_setzero_si512(); }
// Counts of bits by a table of 16 nibbles (Mula, Kurz and Lemire, Faster population counts using AVX2 instructions,
// 2018), the bytes of a lane summed by multiplying with ones.
inline U add_popcount_xor(U sum, U a, U b) {
  const U table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const U nibble = _mm512_set1_epi8(15), x = _mm512_xor_si512(a, b);
  const U low = _mm512_shuffle_epi8(table, _mm512_and_si512(x, nibble));
  const U high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble));
  const U pairs = _mm512_maddubs_epi16(_mm512_add_epi8(low, high), _mm512_set1_epi8(1));
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

constexpr bool kByteUnits = false;
constexpr bool kTwoResiduals = true;
inline U add_dot(U sum, U a, U w) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, w)); }
inline void store_rounded(uint8_t* p, const F (&v)[1]) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v[0])));
}

inline B load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline B zero_bytes() { return _mm512_setzero_si512(); }
inline B add_bytes(B a, B b) { return _mm512_add_epi8(a, b); }
inline B subtract_bytes(B a, B b) { return _mm512_sub_epi8(a, b); }
inline B upper_halves(B v) { return _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15)); }
inline B broadcast_table(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
inline B look_up(B table, B index) { return _mm512_shuffle_epi8(table, index); }
inline void widen(uint16_t* counts, B sums, bool add) {
  const B low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(sums));
  const B high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(sums, 1));
  _mm512_store_si512(counts, add ? _mm512_add_epi16(_mm512_load_si512(counts), low) : low);
  _mm512_store_si512(counts + 32, add ? _mm512_add_epi16(_mm512_load_si512(counts + 32), high) : high);
}
inline U load_counts(const uint16_t* p) {
  return _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}

}  // namespace
}  // namespace evenbit
