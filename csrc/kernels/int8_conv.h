// Convolution of 8-bit integers with 8-bit weights, summed exactly in 32 bits.
//
// The input is what a Tail has stored rounded. With kByteUnits a unit is four channels, stored as q + 128 so that an
// instruction for unsigned times signed fits; the sums then start at -128 times the sum of the weights. Otherwise a
// unit is two channels of 16 bits.
#pragma once

#include "kernels/units.h"

namespace evenbit {

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

#ifdef EVENBIT_BODIES
namespace {

struct Int8Product {
  using Unit = uint32_t;
  using Half = void;
  static int64_t steps(const Int8Conv& op) { return op.run; }
  static U start(const Int8Conv& op, int channel) { return load_units(op.start + channel); }
  static U add(U sum, U a, U w) { return add_dot(sum, a, w); }
  static F finish(const Int8Conv&, U sum) { return to_floats(sum); }
};

using Int8Tile = UnitTile<Int8Product, kConvPixels, kConvBlocks>;

void int8_conv(const Int8Conv& op, Range tasks) { run_tiles<Int8Tile>(op, tasks); }

}  // namespace
#endif

}  // namespace evenbit
