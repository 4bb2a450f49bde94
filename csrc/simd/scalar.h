// Plain C++: one number a vector. Runs everywhere, and is what the other versions are read against.
#pragma once

#include <cmath>
#include <cstdint>

namespace evenbit {
namespace {

using F = float;
using U = uint64_t;
constexpr int kLanes = 1;
constexpr int kWordLanes = 1;
constexpr int kBinaryPixels = 1;
constexpr int kBinaryBlocks = 1;
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
inline F select_ge_zero(F v, F other) { return v >= 0.0f ? v : other; }
inline uint32_t ge_mask(F a, F b) { return a >= b ? 1u : 0u; }

inline U load_words(const uint64_t* p) { return *p; }
inline U broadcast_word(uint64_t v) { return v; }
inline void opaque(U& v) { asm volatile("" : "+r"(v)); }
inline U zero_words() { return 0; }
inline U add_popcount_xor(U sum, U a, U b) { return sum + static_cast<U>(__builtin_popcountll(a ^ b)); }
inline F dot_from_popcount(int64_t fan_in, const U* sums) {
  return static_cast<float>(fan_in - 2 * static_cast<int64_t>(*sums));
}

}  // namespace
}  // namespace evenbit
