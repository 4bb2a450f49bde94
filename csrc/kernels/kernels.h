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
#include <string>

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

// A map of 8-bit integers q = round(clamp(v * multiplier)), written in the form of the kernels that read it: a byte a
// channel, q + 128, or two bytes, q. Strides are in bytes.
struct QuantizedView {
  uint8_t* base = nullptr;
  int64_t row = 0;
  int64_t pixel = 0;
  float multiplier = 0;
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
  QuantizedView quantized;
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
// where j runs over the steps that a kernel row reads, which lie one after the other.
// Tasks: (group of output blocks, output row), groups of the kernel's blocks.
struct BinaryConv {
  const uint8_t* in;   // the bits, or what `expand_bits` has made of them
  int64_t in_row;      // bytes from a row to the next
  int64_t in_pixel;    // bytes from a pixel to the next
  const void* weight;  // [outputs / lanes][kh * run][lanes], see BinaryKernel
  int kh;
  int run;  // steps of a kernel row
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
  const char* name;  // PIXELSxBLOCKS
  int blocks;        // of a task
  int lanes;         // outputs whose weights for a step lie together
  void (*run)(const BinaryConv&, Range);
};

// The same with groups: output o reads the units of group o / per_group.
//
// Tasks: (output block, output row).
struct GroupedBinaryConv {
  const uint32_t* in;  // for each pixel [units][groups, padded to whole blocks]
  int64_t in_row;      // units from a row to the next
  int64_t in_pixel;
  int64_t unit_stride;     // units from a group's unit to its next
  const uint32_t* weight;  // [output blocks][kh][kw][units][16]
  int kh;
  int kw;
  int units;      // of 32 bits that hold the channels of a group
  int per_group;  // outputs
  int stride_y;
  int stride_x;
  int height;
  int width;
  int blocks;
  float fan_in;
  Tail tail;
};

// out[y, x, o] = sum over (ky, j) of the products in unit in[y * sy + ky, x * sx, j] with unit weight[o, ky, j]
//
// where j runs over the units of 32 bits, a few channels each, that a kernel row reads.
// Tasks: (group of output blocks, output row), groups of `kernels.conv_blocks` blocks.
struct Int8Conv {
  const uint8_t* in;  // see QuantizedView
  int64_t in_row;
  int64_t in_pixel;
  const void* weight;     // [outputs / lanes][kh * run][lanes] units, lanes = 16 * conv_blocks
  const uint32_t* start;  // where the sums start
  int kh;
  int run;
  int stride_y;
  int stride_x;
  int height;
  int width;
  int blocks;
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
  FloatView factor;         // multiplied by, if there is one
  const float* cube_scale;  // of the affine map whose cube is taken, if there is one
  const float* cube_offset;
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
  int step_bits;  // of a binary convolution's input: 32, one uint32_t of weights an output, or 4, one uint8_t
  const BinaryKernel* binary;  // ended by one without a name
  int conv_blocks;
  bool byte_units;  // whether int8_conv reads four channels a unit, else two
  void (*grouped_binary_conv)(const GroupedBinaryConv&, Range);
  void (*int8_conv)(const Int8Conv&, Range);
  void (*conv)(const Conv&, Range);
  void (*depthwise_conv)(const Conv&, Range);
  void (*grouped_conv)(const Conv&, Range);
  void (*pool)(const Pool2d&, Range);
  void (*elementwise)(const Elementwise&, Range);
  void (*concat)(const Concat&, Range);
  void (*flatten)(const Flatten&, Range);
  bool (*normalize)(const Normalize&, Range);  // whether all pixels are finite
  // Bits as binary convolutions read them, 2 * `bytes` bytes: two for each byte; null if they read them as they are.
  void (*expand_bits)(const uint8_t* bits, uint8_t* expanded, int64_t bytes);
  // The limit of binary convolutions: the inner step on registers alone, a tile's worth of sums `rounds` times. Returns
  // the number of 1-bit multiply-adds.
  int64_t (*binary_limit)(int64_t rounds);
};

// The kernel for a binary convolution of that many blocks of outputs and that width, by the table in choices.inc; or
// the one of that name, null if there is none.
const BinaryKernel* choose_binary(const Kernels& kernels, int blocks, int width);
const BinaryKernel* find_binary(const Kernels& kernels, const std::string& name);

// Best first, ended by null.
const Kernels* const* all_kernels();

}  // namespace evenbit
