#include "simd/avx512bw.h"
//
#include "kernels/isa.h"
//
#include "kernels/binary_table.h"

namespace evenbit {
extern const Kernels kernels_avx512bw;
EVENBIT_KERNELS(avx512bw, binary_limit);
}  // namespace evenbit
