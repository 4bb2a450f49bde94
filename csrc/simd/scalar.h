// Plain C++: one number a vector. Runs everywhere, and is what the other versions are read against.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace evenbit {
namespace {

using F = float;
using U = uint32_t;
constexpr int kLanes = 1;
constexpr int kBinaryPixels = 1;
constexpr int kBinaryBlocks = 1;
#define EVENBIT_BINARY_TILES(TILE) TILE(1, 1)
constexpr int kConvPixels = 1;
constexpr int kConvBlocks = 1;

bool supported() { return true; }

inline F load(const float* p) { return *p; }
inline void store(float* p, F v) { *p = v; }
inline F broadcast(float v) { return v; }
inline F add(F a, F b) { return a + b; }
inline F mul(F a, F b) { return a * b; }
inline F div(F a, F b) { return a / b; }
inline F larger(F a, F b) { return a > b ? a : b; }
inline F smaller(F a, F b) { return a < b ? a : b; }
inline F absolute(F v) { return std::fabs(v); }
inline F root(F v) { return std::sqrt(v); }
inline F prelu(F v, F slope) { return v >= 0.0f ? v : v * slope; }
inline bool all_finite(F v) { return v - v == 0.0f; }
inline uint32_t ge_mask(F a, F b) { return a >= b ? 1u : 0u; }

inline U load_units(const uint32_t* p) { return *p; }
inline U load_bytes_as_units(const uint8_t* p) { return *p; }
inline U broadcast_unit(uint32_t v) { return v; }
inline U add_units(U a, U b) { return a + b; }
inline U zero_counts() { return 0; }
inline U add_popcount_xor(U sum, U a, U b) { return sum + static_cast<U>(__builtin_popcount(a ^ b)); }
using HalfUnit = uint16_t;
inline U add_popcount_xor_half(U sum, U a, U b) { return add_popcount_xor(sum, a, b); }
inline F dot_from_count(float fan_in, U count) { return fan_in - 2.0f * static_cast<float>(count); }
inline F to_floats(U v) { return static_cast<float>(static_cast<int32_t>(v)); }
constexpr bool kByteUnits = false;
constexpr bool kTwoResiduals = true;
inline U add_dot(U sum, U a, U w) {
  const auto low = [](U v) { return static_cast<int32_t>(static_cast<int16_t>(v)); };
  return sum + static_cast<U>(low(a) * low(w)) + static_cast<U>(low(a >> 16) * low(w >> 16));
}
inline void store_rounded(uint8_t* p, const F (&v)[16]) {
  for (int i = 0; i < 16; ++i) {
    const auto q = static_cast<int16_t>(std::lrint(v[i]));
    std::memcpy(p + 2 * i, &q, sizeof q);
  }
}
inline void opaque(U& v) { asm volatile("" : "+r"(v)); }

}  // namespace
}  // namespace evenbit
