// The table that holds one instruction set's version of each kernel. What a kernel computes stands in its own file.
//
// Every float operation is rounded on its own, in the order that evenbit/ops states; the compiler is told not to fuse
// or reorder. That makes all instruction sets and thread counts agree bit for bit, but for which NaN a NaN is.
#pragma once

#include <string>

#include "kernels/binary_conv.h"
#include "kernels/concat.h"
#include "kernels/conv.h"
#include "kernels/depthwise_binary_conv.h"
#include "kernels/elementwise.h"
#include "kernels/flatten.h"
#include "kernels/gather.h"
#include "kernels/grouped_binary_conv.h"
#include "kernels/int8_conv.h"
#include "kernels/interpolate.h"
#include "kernels/layer_norm.h"
#include "kernels/matmul.h"
#include "kernels/normalize.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "kernels/threshold.h"

// One row a kernel: its function, and what that works on. Binary convolutions are apart, since there are several.
#define EVENBIT_ALL_KERNELS(KERNEL)                  \
  KERNEL(concat, Concat)                             \
  KERNEL(conv, Conv)                                 \
  KERNEL(depthwise_binary_conv, DepthwiseBinaryConv) \
  KERNEL(depthwise_conv, Conv)                       \
  KERNEL(elementwise, Elementwise)                   \
  KERNEL(flatten, Flatten)                           \
  KERNEL(gather, Gather)                             \
  KERNEL(grouped_binary_conv, GroupedBinaryConv)     \
  KERNEL(grouped_conv, Conv)                         \
  KERNEL(int8_conv, Int8Conv)                        \
  KERNEL(interpolate, Interpolate)                   \
  KERNEL(layer_norm, LayerNorm)                      \
  KERNEL(matmul, MatMul)                             \
  KERNEL(normalize, Normalize)                       \
  KERNEL(pool, Pool2d)                               \
  KERNEL(softmax, Softmax)                           \
  KERNEL(threshold, Threshold)

namespace evenbit {

struct Kernels {
  const char* name;
  bool (*supported)();
  int step_bits;       // of a binary convolution's input: 32, one uint32_t of weights an output, or 4, one uint8_t
  int64_t max_fan_in;  // of a binary convolution
  const BinaryKernel* binary;  // ended by one without a name
  int conv_blocks;
  bool byte_units;     // whether int8_conv reads four channels a unit, else two
  bool two_residuals;  // whether a Tail can have a second one
  // Bits as binary convolutions read them, kPairBytes for each byte: beside those of the pixel that is `next` bytes
  // ahead. Null if they read bits as they are.
  void (*pair_bits)(const uint8_t* bits, uint8_t* pairs, int64_t bytes, int64_t next);
  // The limit of binary convolutions: the inner step on registers alone, a tile's worth of sums `rounds` times. Returns
  // the number of 1-bit multiply-adds.
  int64_t (*binary_limit)(int64_t rounds);
#define EVENBIT_KERNEL(name, Work) void (*name)(const Work&, Range);
  EVENBIT_ALL_KERNELS(EVENBIT_KERNEL)
#undef EVENBIT_KERNEL
};

// The kernel for a binary convolution of that many blocks of outputs and that width, by the table in choices.inc; or
// the one of that name, null if there is none.
const BinaryKernel* choose_binary(const Kernels& kernels, int blocks, int width);
const BinaryKernel* find_binary(const Kernels& kernels, const std::string& name);

// Best first, ended by null.
const Kernels* const* all_kernels();

}  // namespace evenbit
