#include "simd/wasm128.h"
//
#include "kernels/isa.h"
//
#include "kernels/binary_table.h"

namespace evenbit {
extern const Kernels kernels_wasm128;
EVENBIT_KERNELS(wasm128, binary_limit);
}  // namespace evenbit
