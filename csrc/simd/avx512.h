// AVX-512 with VPOPCNTDQ and VNNI, popcounts of 32-bit lanes and products of bytes in hardware (Intel since Ice Lake,
// AMD since Zen 4).
#pragma once

#include "simd/avx512_float.h"

namespace evenbit {
namespace {

// 32 registers: 16 for the counts of a tile, the rest for weights, inputs and what is in flight.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 4;
#define EVENBIT_BINARY_TILES(TILE) TILE(8, 2) TILE(4, 4)

bool supported() {
  return has_avx512bw() && __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512vnni");
}

inline U zero_counts() { return _mm512_setzero_si512(); }
inline U add_popcount_xor(U sum, U a, U b) {
  return _mm512_add_epi32(sum, _mm512_popcnt_epi32(_mm512_xor_si512(a, b)));
}

// Half a unit is read as a whole one, which memory can broadcast; the instruction of the xor drops the bits beyond it:
// 0x28 is (a ^ b) & c.
using HalfUnit = uint32_t;
inline U add_popcount_xor_half(U sum, U a, U b) {
  const U differing = _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi32(0xFFFF), 0x28);
  return _mm512_add_epi32(sum, _mm512_popcnt_epi32(differing));
}

constexpr bool kByteUnits = true;
constexpr bool kTwoResiduals = true;
inline U add_dot(U sum, U a, U w) { return _mm512_dpbusd_epi32(sum, a, w); }
inline void store_rounded(uint8_t* p, const F (&v)[1]) {
  const U q = _mm512_add_epi32(_mm512_cvtps_epi32(v[0]), _mm512_set1_epi32(128));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(q));
}

}  // namespace
}  // namespace evenbit
