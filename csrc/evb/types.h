// What a Plan in a file is made of, before it is known to be right.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace evenbit {

// What is wrong with a network, in one line.
class PlanError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void require(bool condition, const std::string& message) {
  if (!condition) throw PlanError(message);
}
inline void require(bool condition, const char* message) {
  if (!condition) throw PlanError(message);
}

// Of a tensor's elements.
enum class Type { kFloat, kWords, kInt8 };
struct TypeInfo {
  const char* in_file;
  const char* in_numpy;
  size_t bytes;
};
constexpr TypeInfo kTypes[] = {{"F32", "float32", 4}, {"U64", "uint64", 8}, {"I8", "int8", 1}};  // in order of Type
inline const TypeInfo& info(Type type) { return kTypes[static_cast<size_t>(type)]; }

// A constant, within the bytes of the file and in their order: not aligned.
struct Tensor {
  Type type = Type::kFloat;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

// Of one image's value.
struct Shape {
  bool bits = false;
  int height = 1;
  int width = 1;
  int channels = 1;

  bool operator==(const Shape& other) const {
    return bits == other.bits && height == other.height && width == other.width && channels == other.channels;
  }
};

inline Shape vector_of(int channels) { return {false, 1, 1, channels}; }

namespace plan {

using Name = std::optional<std::string>;
using Sizes = std::array<int64_t, 2>;  // vertical, horizontal; any number until it is checked

}  // namespace plan
}  // namespace evenbit
