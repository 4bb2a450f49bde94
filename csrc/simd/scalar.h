// Plain C++: one number a vector. Runs everywhere, and is what the other versions are read against.
#pragma once

#include <cmath>
#include <cstdint>

namespace evenbit {
namespace {

using F = float;
using U = uint32_t;
constexpr int kLanes = 1;
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
inline F absolute(F v) { return std::fabs(v); }
inline F prelu(F v, F slope) { return v >= 0.0f ? v : v * slope; }
inline uint32_t ge_mask(F a, F b) { return a >= b ? 1u : 0u; }

inline U load_units(const uint32_t* p) { return *p; }
inline U broadcast_unit(uint32_t v) { return v; }
inline U zero_counts() { return 0; }
inline U add_popcount_xor(U sum, U a, U b) { return sum + static_cast<U>(__builtin_popcount(a ^ b)); }
inline F dot_from_count(float fan_in, U count) { return fan_in - 2.0f * static_cast<float>(count); }
inline void opaque(U& v) { asm volatile("" : "+r"(v)); }

}  // namespace
}  // namespace evenbit
