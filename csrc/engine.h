// Executes a Plan: a list of ops over values, given once, then run on any number of images by any number of threads.
//
// Values live in one arena for each image in flight, planned when the list is complete: a buffer is reused as soon as
// its value has been read for the last time, and an op writes over its residual where that is its last reader.
// Nothing is allocated while running but for the first run of each thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "base/memory.h"
#include "base/pool.h"
#include "kernels/kernels.h"

namespace evenbit {

constexpr int kNone = -1;
enum class Form;
using Pair = std::array<int, 2>;  // vertical, horizontal

// A Tail as it is given: constants, and values by number. Absent parts are empty or kNone.
struct TailSpec {
  std::vector<float> scale, bias, slope, low, high, shift, threshold;
  std::vector<uint64_t> flip;  // given with bits
  bool sigmoid = false;
  bool softsign = false;
  int residual = kNone;
  int out = kNone;
  int mean = kNone;
  int bits = kNone;
  int threshold_value = kNone;  // instead of a constant threshold
};

class Engine {
 public:
  // Kernels of the instruction set of that name, and for binary convolutions the tile of that name if it is not empty;
  // throws std::invalid_argument if this machine cannot run it or there is none.
  Engine(const std::string& isa, int threads, const std::string& tile);
  ~Engine();

  // Declares a value and returns its number.
  int add_value(bool bits, int height, int width, int channels);

  // Ops, in order of execution. Each checks that its values exist and have the sizes it implies, and throws
  // std::invalid_argument otherwise; weights are laid out as in evenbit/plan.py.
  void add_normalize(int height, int width, int channels, const TailSpec& tail);
  void add_conv(int in, const float* weight, std::array<int, 4> shape, Pair stride, Pair padding, int groups,
                const TailSpec& tail);
  // Integers of `in`, round(clamp(x * multiplier)), with 8-bit weights. Returns the number of ops it has become.
  int add_int8_conv(int in, const int8_t* weight, std::array<int, 4> shape, float multiplier, Pair stride, Pair padding,
                    const TailSpec& tail);
  void add_binary_conv(int in, const uint64_t* weight, std::array<int, 4> shape, Pair stride, Pair padding, int groups,
                       const TailSpec& tail);
  void add_elementwise(int in, const TailSpec& tail);
  void add_multiply(int in, int factor, const TailSpec& tail);
  void add_cube(int in, const std::vector<float>& scale, const std::vector<float>& offset, const TailSpec& tail);
  void add_concat(const std::vector<int>& parts, const TailSpec& tail);
  void add_flatten(int in, const TailSpec& tail);
  void add_threshold(int in, const std::vector<float>& scale, const std::vector<float>& offset,
                     const std::vector<uint64_t>& flip, int out);
  void add_pool(int in, bool max, Pair kernel, Pair stride, Pair padding, const TailSpec& tail);

  // Ends the list; `output` is the value that holds the logits.
  void finish(int output);

  // Throw std::invalid_argument unless the program is finished and takes images, or gives logits, of these sizes.
  void check_input(int channels, int height, int width) const;
  void check_output(size_t classes) const;

  int threads() const { return pool_.threads(); }
  size_t arena_bytes() const { return arena_bytes_; }

  // Logits of `count` images, exactly one of `floats` and `bytes` not null, both [count][channels][height][width].
  // Returns whether all pixels are finite; if not, the logits mean nothing. May be called by several threads at once:
  // one of them gets the engine's pool, the others run alone.
  bool run(const float* floats, const uint8_t* bytes, int64_t count, float* logits);

  // Seconds that an op takes on one thread. A binary convolution is also run without its Tail, which leaves the sums,
  // and without its sums, which leaves the Tail; for other ops these two are 0.
  struct OpTime {
    double seconds, sums, tail;
  };

  // The times of each op, in order: medians of `rounds` > 0 runs of one image.
  std::vector<OpTime> profile(const float* image, int rounds);

  // 1-bit multiply-adds a second of one thread, if nothing but the inner step of a binary convolution is done.
  double measure_binary_limit() const;

 private:
  struct Value;
  struct Op;
  struct Step;
  struct Context;

  Value& value(int id);
  const Value& value(int id) const;
  Op& new_op(int in, int height, int width, int channels, const TailSpec& tail);
  void check_tail(const TailSpec& tail, int height, int width, int channels) const;
  int twin(int bits, Form form, int groups);
  int quantized(int id, float multiplier);
  std::vector<int> written(const Op& op) const;
  void plan_arena();
  bool may_overwrite(const Op& op, int index, int source) const;

  std::unique_ptr<Context> new_context() const;
  std::unique_ptr<Context> take_context();
  void give_back(std::unique_ptr<Context> context);
  void bind(Context& context, const Op& op) const;
  void bind_border(Context& context, const Value& v, const Op& op) const;
  Tail bind_tail(Context& context, const Op& op) const;
  FloatView float_view(Context& context, int id) const;
  FloatView spread_view(Context& context, int id) const;  // a vector as a map of equal pixels
  std::vector<Piece> pieces(Context& context, const Op& op) const;
  bool run_step(const Step& step, Range tasks, const float* floats, const uint8_t* bytes) const;
  bool run_image(Context& context, const float* floats, const uint8_t* bytes, float* logits) const;
  // The same by all threads of the pool, each step divided among them.
  bool run_image_together(Context& context, const float* floats, const uint8_t* bytes, float* logits);
  void read_logits(const Context& context, float* logits) const;

  const Kernels* kernels_ = nullptr;
  const BinaryKernel* forced_tile_ = nullptr;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<Op>> ops_;
  int output_ = kNone;
  size_t arena_bytes_ = 0;

  Pool pool_;
  std::mutex pool_mutex_;
  std::mutex contexts_mutex_;
  std::vector<std::unique_ptr<Context>> contexts_;
};

}  // namespace evenbit
