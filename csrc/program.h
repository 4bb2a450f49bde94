// What engine.cc (building a program) and run.cc (running it) share.
#pragma once

#include "engine.h"

namespace evenbit {

// A value's place: channels last, padded to whole blocks (floats) or words (bits), with a border that is wide enough
// for every convolution that reads it.
struct Engine::Value {
  bool bits;
  int height;
  int width;
  int channels;
  int border_y = 0;
  int border_x = 0;
  int first = kNone;  // op that writes it
  int last = kNone;   // op that reads it last
  size_t offset = 0;  // in the arena

  int blocks() const { return (channels + kBlock - 1) / kBlock; }
  int words() const { return (channels + kWordBits - 1) / kWordBits; }
  size_t pixel_bytes() const {
    return bits ? static_cast<size_t>(words()) * sizeof(uint64_t)
                : static_cast<size_t>(blocks()) * kBlock * sizeof(float);
  }
  size_t row_bytes() const { return static_cast<size_t>(width + 2 * border_x) * pixel_bytes(); }
  size_t bytes() const { return static_cast<size_t>(height + 2 * border_y) * row_bytes(); }
  size_t origin() const { return offset + border_y * row_bytes() + border_x * pixel_bytes(); }  // of pixel (0, 0)
};

enum class Kind { kNormalize, kConv, kBinaryConv, kElementwise, kConcat, kFlatten, kThreshold, kPool };

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
  Aligned<uint64_t> binary_weight;

  Aligned<float> scale, bias, slope, low, high, shift, threshold, offset;
  Aligned<uint16_t> flip, valid;
  bool sigmoid = false;
  bool softsign = false;
  int residual = kNone, out = kNone, mean = kNone, bits = kNone, threshold_value = kNone;
  int row_sums = kNone;  // internal value for the mean

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
  // The border of a value: `pattern` on every pixel of it.
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

  std::variant<Normalize, Conv, BinaryConv, Elementwise, Concat, Flatten, Pool2d, Threshold, Mean, Border> work;
  int64_t tasks = 1;
  int op = 0;  // that it belongs to
};

// What one image needs while it is computed.
struct Engine::Context {
  explicit Context(size_t bytes) : arena(bytes) {}
  Aligned<uint8_t> arena;
  std::vector<Step> steps;
  std::vector<std::unique_ptr<Aligned<uint8_t>>> patterns;  // border pixels
  std::vector<std::unique_ptr<std::vector<Piece>>> pieces;  // of concatenations
  std::vector<int> first_of_step;  // The chunks that the pool's threads take: at most one a thread for each step.
  std::vector<int> step_of_chunk;
};

}  // namespace evenbit
