// Runs a program on any number of images by any number of threads.
//
// Each image in flight has a context: an arena, and the steps of the program bound to it. Contexts are made by the
// first runs and kept.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/threads.h"
#include "program/program.h"

namespace evenbit {

class Engine {
 public:
  Engine(Program program, int threads);
  ~Engine();

  const Shape& images() const { return program_.images; }
  int classes() const { return output().channels; }
  // Of the logits: a channel for each class, one pixel or a map.
  Shape output() const;
  int threads() const { return pool_.threads(); }
  size_t arena_bytes() const { return static_cast<size_t>(program_.arena_bytes); }

  // Logits [count][classes][height][width] of `count` images, exactly one of `floats` and `bytes` not null, both
  // [count][channels][height][width].
  // Returns whether all pixels are finite; if not, the logits mean nothing. May be called by several threads at once:
  // one of them gets the engine's pool, the others run alone.
  bool run(const float* floats, const uint8_t* bytes, int64_t count, float* logits);

  // The maps of bits that the network computes, in order.
  const std::vector<Shape>& bit_maps() const { return bit_maps_; }

  // One of them for an image of bytes: 1 for +1 and 0 for -1, [channels][height][width].
  void read_bits(const uint8_t* image, size_t map, uint8_t* bits);

  // Seconds that an op takes on one thread. A binary convolution is also run without its Tail, which leaves the sums,
  // and without its sums, which leaves the Tail; for other ops these two are 0.
  struct OpTime {
    double seconds, sums, tail;
  };

  // The times of each op of the Plan, in order: medians of `rounds` > 0 runs of one image.
  std::vector<OpTime> profile(const float* image, int rounds);

  // 1-bit multiply-adds a second of one thread, if nothing but the inner step of a binary convolution is done.
  double measure_binary_limit() const;

 private:
  struct Context;

  void copy_logits(const Context& context, float* logits) const;
  std::unique_ptr<Context> new_context() const;
  std::unique_ptr<Context> take_context();
  void give_back(std::unique_ptr<Context> context);
  void run_image(Context& context) const;
  // The same by all threads of the pool, each step divided among them.
  void run_image_together(Context& context);

  const Program program_;
  const std::vector<const Node*> bit_nodes_;
  const std::vector<Shape> bit_maps_;
  Pool pool_;
  std::mutex pool_mutex_;
  // Those that no run uses. There is no mutex, which would stay locked in a process that is forked while a run holds
  // it.
  std::array<std::atomic<Context*>, 256> spare_{};
};

}  // namespace evenbit
