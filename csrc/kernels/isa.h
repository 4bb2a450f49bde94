// Gives the ISA file that includes it one version of every kernel. Before it, the file includes its simd header,
// which defines, with internal linkage so that no code for this ISA can leak into another's files:
//
//   supported()                 whether this CPU can run it
//   F, kLanes                   vector of floats: load, store, broadcast, add, mul, div, absolute, root,
//                               prelu(v, slope) = v >= 0 ? v : v * slope, ge_mask(a, b)
//                               larger(a, b) = a > b ? a : b and smaller alike, all_finite(v)
//   U                           vector of as many 32-bit integers: load_units, load_bytes_as_units, broadcast_unit,
//                               add_units(a, b) modulo 2^32, to_floats, opaque (keeps the compiler from knowing a
//                               value), zero_counts, add_popcount_xor(sum, a, b), add_popcount_xor_half(sum, a, b) of
//                               the lower 16 bits of what is broadcast from a HalfUnit in memory,
//                               dot_from_count(K, count) = K - 2 * count as floats, and the operator ^
//   kByteUnits                  whether add_dot(sum, a, w) adds four products of bytes, unsigned times signed, to each
//                               lane, or two products of signed 16-bit integers
//   kTwoResiduals               whether a Tail can add two maps: the code for it is in every kernel
//   store_rounded(p, v)         the 16 numbers v, rounded half to even, as bytes of q + 128 or as 16-bit integers
//   kConvPixels, kConvBlocks    the tile of float and int8 convolutions, which fills the registers
//   kBinaryPixels, kBinaryBlocks, EVENBIT_BINARY_TILES(TILE)   the tile whose inner step is the limit of binary
//                               convolutions, and TILE(pixels, blocks) for each that is worth choosing from
//
// An ISA whose file includes binary_carry.h also has
//
//   xor3(a, b, c), carry(u, next, ones) = u ? ~next : ones, add_popcount(sum, v), and xor_half(a, b) as above
//   kCarryPixels, kCarryBlocks, EVENBIT_CARRY_TILES(TILE)   the same for its tiles
//
// An ISA whose file includes binary_table.h also has
//
//   B, kByteLanes               vector of bytes: load_bytes, zero_bytes, add_bytes, subtract_bytes, upper_halves
//                               (each byte / 16), broadcast_table, look_up(table, index), opaque,
//                               widen(counts, v, add) (to one 16-bit count a byte in memory, or adds to those there),
//                               load_counts (of these, as U); for tiles of one block join_tables (one table to each
//                               part of 16 bytes)
#pragma once

#include <cstring>

#define EVENBIT_UNROLL _Pragma("GCC unroll 16")
#define EVENBIT_BODIES  // the kernels' headers then define what they declare

#include "kernels/views.h"

namespace evenbit {
namespace {
constexpr int kVectors = kBlock / kLanes;  // vectors of a block
}  // namespace
}  // namespace evenbit

#include "kernels/kernels.h"

// After the header of the binary convolution.
#define EVENBIT_BINARY_KERNEL(pixels, blocks)                               \
  {#pixels "x" #blocks, blocks, BinaryTile<pixels, blocks>::kLanesTogether, \
   run_tiles<BinaryTile<pixels, blocks>, BinaryConv>},
#define EVENBIT_CARRY_KERNEL(pixels, blocks)                                        \
  {#pixels "x" #blocks "-carry", blocks, CarryTile<pixels, blocks>::kLanesTogether, \
   run_tiles<CarryTile<pixels, blocks>, BinaryConv>},
#ifndef EVENBIT_CARRY_TILES
#define EVENBIT_CARRY_TILES(TILE)
#endif
#define EVENBIT_ITS_KERNEL(name, Work) name,
#define EVENBIT_KERNELS(isa, binary_limit)                                                   \
  const BinaryKernel kBinaryKernels[] = {EVENBIT_CARRY_TILES(EVENBIT_CARRY_KERNEL)           \
                                             EVENBIT_BINARY_TILES(EVENBIT_BINARY_KERNEL){}}; \
  const Kernels kernels_##isa = {#isa,                                                       \
                                 supported,                                                  \
                                 kStepBits,                                                  \
                                 kMaxFanIn,                                                  \
                                 kBinaryKernels,                                             \
                                 kConvBlocks,                                                \
                                 kByteUnits,                                                 \
                                 kTwoResiduals,                                              \
                                 pair_bits,                                                  \
                                 binary_limit,                                               \
                                 EVENBIT_ALL_KERNELS(EVENBIT_ITS_KERNEL)}
