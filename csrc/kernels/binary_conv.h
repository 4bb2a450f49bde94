// Binary convolution: see BinaryConv in evenbit/ops/binary_conv.py. There are two bodies, binary_popcount.h and
// binary_table.h; the file of an instruction set takes one. To the first, binary_carry.h adds another kind of tile.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

constexpr int64_t kMaxBinaryFanIn = int64_t{1} << 24;  // whole numbers up to this are exact as floats

constexpr int kPairBytes = 4;  // that `pair_bits` makes of a byte

// out[y, x, o] = K - 2 * sum over (ky, j) of popcount(in[y * sy + ky, x * sx, j] xor weight[o, ky, j])
//
// where j runs over the steps that a kernel row reads, which lie one after the other.
// Tasks: (group of output blocks, output row), groups of the kernel's blocks.
struct BinaryConv {
  const uint8_t* in;   // the bits, or what `pair_bits` has made of them
  int64_t in_row;      // bytes from a row to the next
  int64_t in_pixel;    // bytes from a pixel to the next
  const void* weight;  // [outputs / lanes][kh * run][lanes], see BinaryKernel
  int kh;
  int run;    // whole steps of a kernel row
  bool half;  // whether half a step follows them: 16 bits
  int stride_y;
  int stride_x;
  int height;  // of the output
  int width;
  int blocks;    // of the output
  float fan_in;  // K
  Tail tail;
};

// One of several kernels for it, which differ in the tile that they keep in registers.
struct BinaryKernel {
  const char* name;  // PIXELSxBLOCKS, then -carry if it is of binary_carry.h
  int blocks;        // of a task
  int lanes;         // outputs whose weights for a step lie together
  void (*run)(const BinaryConv&, Range);
};

}  // namespace evenbit
