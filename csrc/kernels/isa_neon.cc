#include "simd/neon.h"
//
#include "kernels/isa.h"
//
#include "kernels/binary_popcount.h"

namespace evenbit {
extern const Kernels kernels_neon;
EVENBIT_KERNELS(neon, binary_limit);
}  // namespace evenbit
