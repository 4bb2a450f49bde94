// What kernels compute, and the table that holds one instruction set's version of each.
//
// Maps are stored with their channels last and padded to blocks of 16, so no vector loop has a remainder: the
// channels past the last real one hold values that nothing reads. A map that a convolution reads with padding has a
// border in memory, zeros for float maps and +1 for bit maps, so no kernel has border cases.
//
// Every float operation is rounded on its own, in the order that evenbit/plan.py states; the compiler is told not to
// fuse or reorder. That makes all instruction sets and thread counts agree bit for bit, but for which NaN a NaN is.
#pragma once

#include <cstdint>

// Always inlined, so that what ISA files share with others never exists as a function compiled for one of them.
#define EVENBIT_INLINE inline __attribute__((always_inline))

namespace evenbit {

constexpr int kBlock = 16;     // channels of a block
constexpr int kWordBits = 64;  // channels of a word of bits

// A float map, or a vector that stands for a map of equal pixels (strides 0). Strides are in floats.
struct FloatView {
  float* base = nullptr;
  int64_t row = 0;
  int64_t pixel = 0;

  EVENBIT_INLINE float* at(int64_t y, int64_t x) const { return base + y * row + x * pixel; }
};

// A bit map, written in units of one block: 16 bits. Strides are in blocks.
struct BitView {
  uint16_t* base = nullptr;
  int64_t row = 0;
  int64_t pixel = 0;

  EVENBIT_INLINE uint16_t* at(int64_t y, int64_t x) const { return base + y * row + x * pixel; }
};

// The elementwise end of every kernel: see Tail in evenbit/plan.py for the formula. Parts that are absent are null.
struct Tail {
  const float* scale = nullptr;  // vectors have one float a channel, padded with zeros to whole blocks
  const float* bias = nullptr;
  FloatView residual;
  const float* slope = nullptr;
  const float* low = nullptr;  // given with `high`
  const float* high = nullptr;
  bool sigmoid = false;
  bool softsign = false;
  const float* shift = nullptr;
  FloatView out;
  float* row_sums = nullptr;  // [height][channels]: for each row, the sum of its pixels from left to right
  int64_t row_sums_stride = 0;
  BitView bits;
  int blocks = 0;  // of the bit map
  int units = 0;   // that a pixel has room for: whole words
  const float* threshold = nullptr;
  const uint16_t* flip = nullptr;   // bits to invert, one unit a block
  const uint16_t* valid = nullptr;  // bits of real channels, one unit a block
};

// Kernels work on tasks [begin, end), which can be computed in any order by any threads.
struct Range {
  int64_t begin;
  int64_t end;
};

// out[y, x, o] = K - 2 * sum over (ky, j) of popcount(in[y * sy + ky, x * sx, j] xor weight[o, ky, j])
//
// where j runs over the kw * words words that a kernel row reads, which lie one after the other.
// Tasks: (group of output blocks, output row), groups of `kernels.bconv_blocks` blocks.
struct BinaryConv {
  const uint64_t* in;
  int64_t in_row;          // words from a row to the next
  int64_t in_pixel;        // words from a pixel to the next
  const uint64_t* weight;  // [output blocks][kh * run][16]
  int kh;
  int run;  // kw * words
  int stride_y;
  int stride_x;
  int64_t fan_in;  // K
  int height;      // of the output
  int width;
  int blocks;  // of the output
  Tail tail;
};

// out[y, x, o] = sum over (ky, kx, i), in this order and from 0, of
//                in[y * sy + ky, x * sx + kx, o / (outputs / groups) * channels + i] * weight[o, ky, kx, i]
//
// There are three kernels, for how the 16 outputs of a block share their inputs:
//   conv            all read the same `channels` inputs: one group, or groups of whole blocks
//   depthwise_conv  each reads its own channel: channels = 1, groups = outputs
//   grouped_conv    anything else
//
// Tasks: output rows; of `conv` (group of output blocks, output row), groups of `kernels.conv_blocks` blocks.
struct Conv {
  FloatView in;
  const float* weight;  // [output blocks][kh][kw][channels][16]
  int kh;
  int kw;
  int channels;  // of a group
  int groups;
  int outputs;
  int stride_y;
  int stride_x;
  int height;
  int width;
  int blocks;
  Tail tail;
};

// Tasks: output rows.
struct Pool2d {
  FloatView in;
  bool max;  // the largest value, else the mean: the sum in (ky, kx) order from 0, divided by kh * kw
  int kh;
  int kw;
  int stride_y;
  int stride_x;
  int pad_y;  // max only: windows are cut at the edge
  int pad_x;
  int in_height;
  int in_width;
  int height;
  int width;
  int blocks;
  Tail tail;
};

// Tasks: rows.
struct Elementwise {
  FloatView in;
  FloatView factor;  // multiplied by, if there is one
  int height;
  int width;
  int blocks;
  Tail tail;
};

// Neighbouring channels of one map that become channels of one block of a concatenation.
struct Piece {
  FloatView from;  // at its first channel
  int lane;        // in the block
  int count;       // of channels
  int block;
  bool ends_block;
};

// Channels of several maps, side by side. Tasks: rows.
struct Concat {
  const Piece* pieces;
  int count;
  int height;
  int width;
  Tail tail;
};

// out[(c * height + y) * width + x] = in[y, x, c]. Tasks: one.
struct Flatten {
  FloatView in;
  int height;
  int width;
  int channels;
  int blocks;  // of the output
  Tail tail;
};

// Planes of an image, float32 or uint8 (exactly one is not null), to a float map. Tasks: rows.
struct Normalize {
  const float* floats;
  const uint8_t* bytes;
  int channels;
  int height;
  int width;
  int blocks;
  Tail tail;
};

// Versions of all kernels for one instruction set.
struct Kernels {
  const char* name;
  bool (*supported)();
  int bconv_blocks;
  int conv_blocks;
  void (*binary_conv)(const BinaryConv&, Range);
  void (*conv)(const Conv&, Range);
  void (*depthwise_conv)(const Conv&, Range);
  void (*grouped_conv)(const Conv&, Range);
  void (*pool)(const Pool2d&, Range);
  void (*elementwise)(const Elementwise&, Range);
  void (*concat)(const Concat&, Range);
  void (*flatten)(const Flatten&, Range);
  bool (*normalize)(const Normalize&, Range);  // whether all pixels are finite
  // The limit of binary_conv: its inner step on registers alone, a tile's worth of sums `rounds` times. Returns the
  // number of 1-bit multiply-adds.
  int64_t (*binary_limit)(int64_t rounds);
};

// Best first, ended by null.
const Kernels* const* all_kernels();

}  // namespace evenbit
