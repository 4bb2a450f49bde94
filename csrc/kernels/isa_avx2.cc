#include "simd/avx2.h"
//
#include "kernels/isa.h"
//
#include "kernels/binary_table.h"

namespace evenbit {
extern const Kernels kernels_avx2;
EVENBIT_KERNELS(avx2, binary_limit);
}  // namespace evenbit
