// AVX-512 with VPOPCNTDQ and VNNI, popcounts of 32-bit lanes and products of bytes in hardware (Intel since Ice Lake,
// AMD since Zen 4).
#pragma once

#include "simd/avx512_float.h"

namespace evenbit {
namespace {

// 32 registers: 16 for the counts of a tile, or its ones and carries, the rest for weights, inputs and what is in
// flight.
constexpr int kBinaryPixels = 8;
constexpr int kBinaryBlocks = 2;
#define EVENBIT_BINARY_TILES(TILE) TILE(8, 2)
constexpr int kCarryPixels = 4;
constexpr int kCarryBlocks = 2;
#define EVENBIT_CARRY_TILES(TILE) TILE(4, 2)

bool supported() {
  return has_avx512bw() && __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512vnni");
}

inline U zero_counts() { return _mm512_setzero_si512(); }
inline U add_popcount(U sum, U v) { return _mm512_add_epi32(sum, _mm512_popcnt_epi32(v)); }
inline U add_popcount_xor(U sum, U a, U b) { return add_popcount(sum, _mm512_xor_si512(a, b)); }

// Functions of three bits are numbered by their eight values.
inline U xor3(U a, U b, U c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
inline U carry(U u, U next, U ones) { return _mm512_ternarylogic_epi32(u, next, ones, 0x3A); }  // u ? ~next : ones

// Half a unit is read as a whole one, which memory can broadcast; the xor drops the bits beyond it: (a ^ b) & c.
using HalfUnit = uint32_t;
inline U xor_half(U a, U b) { return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi32(0xFFFF), 0x28); }
inline U add_popcount_xor_half(U sum, U a, U b) { return add_popcount(sum, xor_half(a, b)); }

constexpr bool kByteUnits = true;
constexpr bool kTwoResiduals = true;
inline U add_dot(U sum, U a, U w) { return _mm512_dpbusd_epi32(sum, a, w); }
inline void store_rounded(uint8_t* p, const F (&v)[1]) {
  const U q = _mm512_add_epi32(_mm512_cvtps_epi32(v[0]), _mm512_set1_epi32(128));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(q));
}

}  // namespace
}  // namespace evenbit
