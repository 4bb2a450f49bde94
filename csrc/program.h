// What engine.cc (building a program) and run.cc (running it) share.
#pragma once

#include "engine.h"

namespace evenbit {

// How a value lies in memory.
enum class Form {
  kFloats,     // padded to whole blocks
  kBits,       // padded to whole words
  kExpanded,   // bits as a binary convolution reads them, two bytes for eight
  kGrouped,    // bits as a binary convolution with groups reads them
  kQuantized,  // 8-bit integers as an int8 convolution reads them, one or two bytes a channel
};

// A value's place: channels last, with a border that is wide enough for every convolution that reads it.
struct Engine::Value {
  Form form;
  int height;
  int width;
  int channels;
  int border_y = 0;
  int border_x = 0;
  int first = kNone;       // op that writes it
  int last = kNone;        // op that reads it last
  size_t offset = 0;       // in the arena
  std::vector<int> twins;  // of bits: values that hold them as convolutions read them, where that differs
  int groups = 1;          // of such a twin
  int channel_bytes = 0;   // of kQuantized

  int blocks() const { return (channels + kBlock - 1) / kBlock; }
  size_t group_units() const { return (channels / groups + 31) / 32; }
  size_t group_stride() const { return round_up(groups, kBlock); }
  int words() const { return (channels + kWordBits - 1) / kWordBits; }
  size_t pixel_bytes() const {
    if (form == Form::kFloats) return static_cast<size_t>(blocks()) * kBlock * sizeof(float);
    if (form == Form::kGrouped) return group_units() * group_stride() * sizeof(uint32_t);
    if (form == Form::kQuantized) return static_cast<size_t>(channels) * channel_bytes;
    return static_cast<size_t>(words()) * sizeof(uint64_t) * (form == Form::kExpanded ? 2 : 1);
  }
  size_t row_bytes() const { return static_cast<size_t>(width + 2 * border_x) * pixel_bytes(); }
  // The last unit of a quantized map may reach past its end.
  size_t bytes() const {
    return (height + 2 * border_y) * row_bytes() + (form == Form::kQuantized ? sizeof(uint32_t) : 0);
  }
  size_t origin() const { return offset + border_y * row_bytes() + border_x * pixel_bytes(); }  // of pixel (0, 0)
};

enum class Kind {
  kNormalize,
  kConv,
  kInt8Conv,
  kBinaryConv,
  kElementwise,
  kConcat,
  kFlatten,
  kThreshold,
  kPool,
};

// An op with its constants laid out for the kernels.
struct Engine::Op {
  Kind kind = Kind::kElementwise;
  int in = kNone;
  int factor = kNone;
  std::vector<int> others;  // whose channels follow
  int height = 0;           // of the result
  int width = 0;
  int channels = 0;
  Pair kernel{1, 1}, stride{1, 1}, padding{0, 0};
  int groups = 1;
  int per_group = 0;  // inputs
  bool max = false;
  Aligned<float> weight;
  const BinaryKernel* binary = nullptr;  // of a binary convolution without groups
  Aligned<uint8_t> packed_weight;        // of binary and int8 convolutions
  Aligned<uint32_t> start;               // of an int8 convolution's sums
  int row_units = 0;                     // that it reads for a kernel row

  Aligned<float> scale, bias, slope, low, high, shift, threshold, offset, cube_scale;
  Aligned<uint16_t> flip, valid;
  bool sigmoid = false;
  bool softsign = false;
  int residual = kNone, out = kNone, mean = kNone, bits = kNone, threshold_value = kNone;
  int row_sums = kNone;   // internal value for the mean
  int quantized = kNone;  // internal value for the int8 convolutions that read the result
  float multiplier = 0;   // of its numbers

  int blocks() const { return (channels + kBlock - 1) / kBlock; }
  bool is_depthwise() const { return groups > 1 && per_group == 1 && groups == channels; }
  bool shares_inputs() const { return groups == 1 || channels / groups % kBlock == 0; }  // the outputs of a block do
};

// One step of a run: an op with the addresses of one context in it, or what follows an op.
struct Engine::Step {
  // Per-instance thresholds from the vector `in`; see Threshold in evenbit/plan.py.
  struct Threshold {
    const float* in;
    const float* scale;
    const float* offset;
    const uint16_t* flip;
    float* out;
    int channels;
  };
  // Mean of a map from the sums of its rows.
  struct Mean {
    const float* row_sums;
    float* out;
    int channels;
    int height;
    int width;
  };
  // The border of a value: every pixel of it as in the row `pattern`.
  struct Border {
    uint8_t* base;
    size_t row_bytes;
    size_t pixel_bytes;
    int height;
    int width;
    int border_y;
    int border_x;
    const uint8_t* pattern;
  };
  // Bits, border included, as the kernels read them.
  struct Expand {
    const uint8_t* bits;
    uint8_t* expanded;
    int64_t bytes;
  };
  // Bits, border included, with each group's channels in units of their own; see GroupedBinaryConv.
  struct Regroup {
    const uint64_t* bits;
    uint32_t* units;
    int64_t pixels;
    int words;
    int groups;
    int per_group;  // channels
  };

  std::variant<Normalize, Conv, Int8Conv, BinaryConv, GroupedBinaryConv, Elementwise, Concat, Flatten, Pool2d,
               Threshold, Mean, Border, Expand, Regroup>
      work;
  int64_t tasks = 1;
  int op = 0;                            // that it belongs to
  const BinaryKernel* binary = nullptr;  // of a BinaryConv
};

// What one image needs while it is computed.
struct Engine::Context {
  explicit Context(size_t bytes) : arena(bytes) {}
  Aligned<uint8_t> arena;
  std::vector<Step> steps;
  std::vector<std::unique_ptr<Aligned<uint8_t>>> patterns;  // rows of borders
  std::vector<std::unique_ptr<std::vector<Piece>>> pieces;  // of concatenations
  std::vector<int> first_of_step;  // The chunks that the pool's threads take: at most one a thread for each step.
  std::vector<int> step_of_chunk;
};

}  // namespace evenbit
