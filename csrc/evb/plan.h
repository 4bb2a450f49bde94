// A Plan as it is read from a file: the C++ form of evenbit/plan.py, and the checks that make it safe to run.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evb/types.h"
#include "ops/op.h"

namespace evenbit {

struct Plan {
  int64_t channels = 0, height = 0, width = 0;
  std::vector<std::string> classes;
  std::vector<std::unique_ptr<plan::Op>> ops;
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
