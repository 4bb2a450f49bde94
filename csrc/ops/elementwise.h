// The work of a Tail on its own, which other ops have too.
#pragma once

#include "program/program.h"

namespace evenbit {

// Reads `in` and, unless it is kNone, multiplies it by `factor`.
Bind elementwise(const Kernels& kernels, int in, int factor = kNone);

}  // namespace evenbit
