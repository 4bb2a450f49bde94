// AVX-512 with VPOPCNTDQ: popcount of 32-bit lanes in hardware (Intel since Ice Lake, AMD since Zen 4).
#pragma once

#include "simd/avx512_float.h"

namespace evenbit {
namespace {

// 32 registers: 16 for the counts of a tile, the rest for weights, inputs and what is in flight.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 4;

bool supported() { return has_avx512bw() && __builtin_cpu_supports("avx512vpopcntdq"); }

inline U broadcast_unit(uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
inline U zero_counts() { return _mm512_setzero_si512(); }
inline U add_popcount_xor(U sum, U a, U b) {
  return _mm512_add_epi32(sum, _mm512_popcnt_epi32(_mm512_xor_si512(a, b)));
}

}  // namespace
}  // namespace evenbit
