// A network as it runs: values, which have places in an arena, and nodes, which write and read them.
//
// A Builder makes a Program from a Plan; an engine binds it to one arena for each image in flight, which gives the
// steps of a run. Nothing here knows single ops: a node brings the function that makes its step.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/memory.h"
#include "evb/types.h"
#include "kernels/kernels.h"

namespace evenbit {

constexpr int kNone = -1;                          // no value
constexpr uint64_t kMaxBytes = uint64_t{1} << 31;  // of all constants, and of the values of one image

// How a value lies in memory.
enum class Form {
  kFloats,     // padded to whole blocks
  kBits,       // padded to whole blocks
  kPaired,     // bits as a binary convolution reads them, beside those of a pixel further on
  kGrouped,    // bits as a binary convolution with groups reads them
  kBytes,      // bits as a depthwise binary convolution reads them, a byte each
  kQuantized,  // 8-bit integers as an int8 convolution reads them, one or two bytes a channel
};

// A value's place: channels last, with a border that is wide enough for every convolution that reads it.
struct Value {
  Form form = Form::kFloats;
  int height = 1;
  int width = 1;
  int channels = 1;
  int border_y = 0;
  int border_x = 0;
  int first = kNone;       // node that writes it
  int last = kNone;        // node that reads it last
  uint64_t offset = 0;     // in the arena
  std::vector<int> twins;  // of bits: values that hold them as convolutions read them, where that differs
  int groups = 1;          // of a kGrouped twin
  int distance = 0;        // of a kPaired twin: columns from a pixel to the one beside whose bits it stands
  int channel_bytes = 0;   // of kQuantized

  int blocks() const { return (channels + kBlock - 1) / kBlock; }
  uint64_t group_units() const { return (channels / groups + 31) / 32; }
  uint64_t group_stride() const { return round_up(groups, kBlock); }
  uint64_t pixel_bytes() const {
    if (form == Form::kFloats) return static_cast<uint64_t>(blocks()) * kBlock * sizeof(float);
    if (form == Form::kGrouped) return group_units() * group_stride() * sizeof(uint32_t);
    if (form == Form::kBytes) return round_up(static_cast<uint64_t>(channels), kWordBits);
    if (form == Form::kQuantized) return static_cast<uint64_t>(channels) * channel_bytes;
    return static_cast<uint64_t>(blocks()) * sizeof(uint16_t) * (form == Form::kPaired ? kPairBytes : 1);
  }
  uint64_t row_bytes() const { return static_cast<uint64_t>(width + 2 * border_x) * pixel_bytes(); }
  uint64_t pixels() const { return static_cast<uint64_t>(height + 2 * border_y) * (width + 2 * border_x); }
  // Who reads bits or integers in units may reach past the end of the last one.
  uint64_t bytes() const { return pixels() * pixel_bytes() + (form == Form::kFloats ? 0 : sizeof(uint64_t)); }
  uint64_t origin() const { return offset + border_y * row_bytes() + border_x * pixel_bytes(); }  // of pixel (0, 0)
};

// One step of a run: the function that does some of its tasks.
struct Step {
  std::function<void(Range)> run;
  int64_t tasks = 1;
  // Of a binary convolution, for profiles: all tasks without the Tail, and without the sums.
  std::function<void(Range)> sums = nullptr;
  std::function<void(Range)> tail = nullptr;
  int op = 0;  // of the Plan that it belongs to
};

// The images of a run, one of `floats` and `bytes` not null, [channels][height][width].
struct Input {
  const float* floats = nullptr;
  const uint8_t* bytes = nullptr;
  bool finite = true;  // whether all pixels read so far are
};

struct Program;

// The memory of one image in flight, in which a node finds its values.
class Memory {
 public:
  Memory(const Program& program, uint8_t* arena, Input& input) : program_(program), arena_(arena), input_(input) {}

  Input& input() const { return input_; }
  const Value& value(int id) const;
  uint8_t* start(int id) const;                 // of a value, its border included
  FloatView floats(int id) const;               // all null if there is no such value
  FloatView spread(int id) const;               // a vector as a map of equal pixels
  uint8_t* window(int id, int y, int x) const;  // where the window at (0, 0) begins, y rows and x columns before it

 private:
  const Program& program_;
  uint8_t* const arena_;
  Input& input_;
};

// Makes the step of a node in one memory; its Tail comes with the addresses in it.
using Bind = std::function<Step(const Memory&, const Tail&)>;

// An op of a program.
struct Node {
  int height = 1;  // of its result
  int width = 1;
  int channels = 1;
  Bind bind;
  std::vector<int> whole;      // values that it reads in some other way than the next
  std::vector<int> pixelwise;  // values of which it reads, for a pixel of its result, that pixel alone
  Tail tail;                   // constants alone
  int residual = kNone, second_residual = kNone, out = kNone, mean = kNone, bits = kNone, threshold = kNone;
  int row_sums = kNone;   // internal value for the mean
  int quantized = kNone;  // internal value for the int8 convolutions that read the result
  float multiplier = 0;   // of its numbers
  int op = 0;             // of the Plan that it comes from
};

struct Program {
  const Kernels* kernels = nullptr;
  Shape images;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<std::shared_ptr<const void>> constants;  // as the kernels read them
  int ops = 0;                                         // of the Plan
  int output = kNone;                                  // value that holds the logits
  uint64_t arena_bytes = 0;
};

// Values that the node writes, those for its own use included.
std::vector<int> written(const Program& program, const Node& node);

// Gives every value its place: a buffer is reused as soon as its value has been read for the last time, and a node
// writes over its residual or input where it is their last reader. Throws PlanError if that takes too much memory.
void plan_arena(Program& program);

// The steps of a run in that memory.
std::vector<Step> bind(const Program& program, const Memory& memory);

}  // namespace evenbit
