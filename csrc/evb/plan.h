// A Plan as it is read from a file: the C++ form of the dataclasses in evenbit/plan.py, which says what each field
// means, and the checks that make it safe to run.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace evenbit {

// What is wrong with a file, in one line.
class PlanError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void require(bool condition, const std::string& message) {
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

struct Plan {
  using Name = std::optional<std::string>;
  using Sizes = std::array<int64_t, 2>;  // vertical, horizontal; any number until it is checked

  struct Bits {
    std::string out, threshold, flip;
  };
  struct Tail {
    Name scale, bias, residual, slope, low, high, shift, mean;
    std::string activation = "none";
    std::optional<Bits> bits;
  };
  // All kinds of ops in one; what a kind does not have keeps its default.
  struct Op {
    std::string kind, name, input;
    Name out;
    Tail tail;
    std::string weight, factor, scale, offset, flip;
    std::vector<std::string> others;
    Sizes kernel{1, 1}, stride{1, 1}, padding{0, 0};
    int64_t groups = 1;
    double multiplier = 1;
  };

  int64_t channels = 0, height = 0, width = 0;
  std::vector<std::string> classes;
  std::vector<Op> ops;
  std::string output;
  std::map<std::string, Tensor> tensors;
};

// The Plan in the bytes of an .evb file, of which its tensors are part; its digest, types and fields are checked, its
// shapes are not. Throws PlanError.
Plan read_plan(const uint8_t* data, size_t size);

// Checks the whole Plan as evenbit/plan.py does. After it, every size fits an int, and every name leads to a value or
// tensor of the size that its op implies. Throws PlanError.
struct CheckedShapes {
  std::map<std::string, Shape> values;  // the input `images` included
  std::vector<Shape> results;           // of each op, before its mean and bits
};
CheckedShapes check_plan(const Plan& plan);

}  // namespace evenbit
