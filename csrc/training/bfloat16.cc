#include "training/bfloat16.h"

#include <cstring>

#include "training/clones.h"

namespace evenbit::training {

EVENBIT_CLONES void widen(int n, const BFloat16* __restrict x, float* __restrict y) {
  for (int i = 0; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<uint16_t>(x[i])) << 16;
    std::memcpy(y + i, &bits, sizeof bits);
  }
}

EVENBIT_CLONES void narrow(int n, const float* __restrict x, BFloat16* __restrict y) {
  constexpr uint32_t kNan = 0x7FC0;
  for (int i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    y[i] = static_cast<BFloat16>(x[i] == x[i] ? rounded : kNan);
  }
}

}  // namespace evenbit::training
