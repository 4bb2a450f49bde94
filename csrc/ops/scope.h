// What is known where an op stands in a Plan: the constants, and the values that earlier ops write. Looks names up, and
// throws PlanError where something does not fit.
#pragma once

#include <cstring>
#include <initializer_list>
#include <map>

#include "evb/types.h"
#include "ops/fields.h"

namespace evenbit {

constexpr int64_t kMaxElements = int64_t{1} << 28;  // of one value
constexpr int64_t kAny = -1;                        // any size of at least 1
constexpr const char* kImages = "images";

using Tensors = std::map<std::string, Tensor>;

class Scope {
 public:
  explicit Scope(const Tensors& tensors) : tensors_(tensors) {}

  const std::map<std::string, Shape>& values() const { return values_; }

  // Records what an op writes.
  void write(const std::string& name, const Shape& shape);

  // Shape of a value that has been written, and holds bits or floats.
  const Shape& value(const std::string& name, bool bits) const;
  // The same of a map of floats that an op reads besides its input.
  const Shape& other_map(const std::string& name) const;
  // Throws unless such a map has that shape, or is a vector of as many channels.
  void check_same_or_vector(const char* what, const std::string& name, const Shape& shape) const;

  // A constant of that type and shape, in which kAny stands for any size.
  const Tensor& tensor(const std::string& name, Type type, const std::vector<int64_t>& shape) const;
  // Checks a constant with one number, or one bit, for each channel.
  void check_vector(const std::string& name, int channels) const;
  const Tensor& flips(const std::string& name, int channels) const;

  // Throws unless all parts of an op's Tail fit its result.
  void check_tail(const plan::Tail& tail, const Shape& shape) const;

 private:
  const Tensors& tensors_;
  std::map<std::string, Shape> values_;
};

inline int64_t words_of(int64_t channels) { return (channels + 63) / 64; }

// Whether the product of positive sizes is at most `limit`; does not overflow.
bool product_fits(std::initializer_list<int64_t> sizes, int64_t limit);

// A window that slides over a map.
struct Window {
  plan::Sizes kernel, stride, padding;
  plan::Sizes overhang{0, 0};  // more rows below and columns right
};

// Throws unless the window overlaps the map in every position, for ops that ignore padding.
void check_cut(const Window& window);

// A map of floats with a pixel for each of its positions.
Shape slide(const Window& window, const Shape& in, int64_t channels);

// Input channels of a group.
int per_group(int channels, int64_t groups);
void check_outputs(const Tensor& weight, int64_t groups);

// No bit is set past the last channel, in the last word of each row of words.
void check_spare_bits(const std::string& name, const Tensor& packed, int channels);

std::string text(const Shape& shape);

template <typename T>
T element(const Tensor& tensor, int64_t index) {
  T value;
  std::memcpy(&value, tensor.data + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

}  // namespace evenbit
