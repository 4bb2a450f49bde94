// Gives the ISA file that includes it one version of every kernel. Before it, the file includes its simd header,
// which defines, with internal linkage so that no code for this ISA can leak into another's files:
//
//   F, kLanes                   vector of floats: load, store, broadcast, add, mul, div, larger, smaller, absolute,
//                               select_ge_zero(v, other) = v >= 0 ? v : other, ge_mask(a, b)
//   U, kWordLanes               vector of 64-bit words: load_words, broadcast_word, zero_words, add_popcount_xor
//   dot_from_popcount           K - 2 * popcount as floats
//   opaque(U&)                  keeps the compiler from knowing a value
//   kBinaryPixels, kBinaryBlocks, kConvPixels, kConvBlocks   tiles that fill the registers
#pragma once

#include <cstring>

#define EVENBIT_UNROLL _Pragma("GCC unroll 16")

namespace evenbit {
namespace {
constexpr int kVectors = kBlock / kLanes;          // float vectors of a block
constexpr int kWordVectors = kBlock / kWordLanes;  // word vectors of a block
}  // namespace
}  // namespace evenbit

#include "kernels/tail.h"
//
#include "kernels/binary_conv.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"

#define EVENBIT_KERNELS(isa)                                                                      \
  const Kernels kernels_##isa = {#isa,   supported,      kBinaryBlocks, kConvBlocks, binary_conv, \
                                 conv,   depthwise_conv, grouped_conv,  pool,        elementwise, \
                                 concat, flatten,        normalize,     binary_limit}
