// Makes a Program from a Plan. Each op adds itself, by what is offered here: see Op::build.
#pragma once

#include <map>
#include <string>

#include "evb/plan.h"
#include "ops/scope.h"
#include "program/program.h"

namespace evenbit {

// A window with sizes that have been checked.
struct IntWindow {
  int kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x;

  explicit IntWindow(const Window& w)
      : kernel_y(static_cast<int>(w.kernel[0])),
        kernel_x(static_cast<int>(w.kernel[1])),
        stride_y(static_cast<int>(w.stride[0])),
        stride_x(static_cast<int>(w.stride[1])),
        padding_y(static_cast<int>(w.padding[0])),
        padding_x(static_cast<int>(w.padding[1])) {}
};

class Builder {
 public:
  // `tile` is that of all binary convolutions, null for the measured choice.
  Builder(const Plan& plan, const CheckedShapes& shapes, const Kernels& kernels, const BinaryKernel* tile);

  Program build();

  const Kernels& kernels() const { return kernels_; }
  const BinaryKernel* forced_tile() const { return tile_; }

  // Numbers of values that have been written; kNone for a name that is of none.
  int value(const std::string& name) const;
  const Value& info(int id) const { return program_.values[id]; }

  // The value that holds bits in another form, or integers of floats, and is read instead of them.
  int twin(int bits, Form form, int groups, int distance);
  int quantized(int id, float multiplier);

  // Asks for a border around a value: a window reads it from that many pixels before its first on.
  void pad(int id, const IntWindow& window);

  // Constants: as they are in the file; a number a channel, padded with zeros to whole blocks; bits in units of a
  // block.
  const Tensor& tensor(const std::string& name) const { return plan_.tensors.at(name); }
  template <typename T>
  std::vector<T> copied(const std::string& name) const {
    const Tensor& from = tensor(name);
    std::vector<T> values(from.bytes / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), from.data, from.bytes);
    return values;
  }
  const float* floats(const std::string& name);
  const uint16_t* flips(const std::string& name);
  const uint64_t* numbers(const std::string& name);  // as they are in the file
  // Throws unless there is room for so many bytes of constants more.
  void check_room(uint64_t bytes) const {
    require(bytes <= kMaxBytes - constant_bytes_, "the network needs more than 2 GiB of memory for its weights");
  }
  // Counts memory that a node keeps by itself among the constants.
  void count(uint64_t bytes) {
    check_room(bytes);
    constant_bytes_ += bytes;
  }
  // Keeps a constant as long as the program.
  template <typename T>
  const T* keep(Aligned<T> array) {
    count(uint64_t{array.size()} * sizeof(T));
    const auto kept = std::make_shared<Aligned<T>>(std::move(array));
    program_.constants.push_back(kept);
    return kept->data();
  }

  // Shape of the result of the op that is being added.
  const Shape& result() const { return shapes_.results[op_]; }

  // Adds that op: its work, and what of its result it reads whole or pixel by pixel; see Node. Its Tail is added here.
  void add(Bind bind, std::vector<int> whole, std::vector<int> pixelwise = {});

 private:
  int new_value(const Shape& shape);
  int named(const plan::Name& name) const { return name ? value(*name) : kNone; }
  void add_tail(const plan::Tail& tail, Node& node);
  Node elementwise_node(int id);
  int sum(int id, int other);
  void add_node(Node node);
  void find_readers();
  void share_borders();

  const Plan& plan_;
  const CheckedShapes& shapes_;
  const Kernels& kernels_;
  const BinaryKernel* const tile_;
  Program program_;
  size_t op_ = 0;  // that is being added
  std::map<std::string, int> values_;
  std::map<std::string, const float*> floats_;
  std::map<std::string, const uint16_t*> flips_;
  std::map<std::string, const uint64_t*> numbers_;
  uint64_t constant_bytes_ = 0;
};

}  // namespace evenbit
