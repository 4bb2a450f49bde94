// The work of Elementwise and Multiply: a Tail on its own, or after a product.
#pragma once

#include "program/program.h"

namespace evenbit {

// Reads `in` and, unless it is kNone, multiplies it by `factor`.
Bind elementwise(const Kernels& kernels, int in, int factor = kNone);

}  // namespace evenbit
