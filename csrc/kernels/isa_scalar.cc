#include "simd/scalar.h"
//
#include "kernels/isa.h"
//
#include "kernels/binary_popcount.h"

namespace evenbit {
extern const Kernels kernels_scalar;
EVENBIT_KERNELS(scalar, binary_limit);
}  // namespace evenbit
