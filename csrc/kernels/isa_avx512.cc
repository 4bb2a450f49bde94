#include "simd/avx512.h"
//
#include "kernels/isa.h"
//
#include "kernels/binary_carry.h"

namespace evenbit {
extern const Kernels kernels_avx512;
EVENBIT_KERNELS(avx512, carry_limit);
}  // namespace evenbit
