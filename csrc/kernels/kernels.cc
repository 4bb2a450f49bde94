#include "kernels/kernels.h"

namespace evenbit {

#define EVENBIT_ISA(name) extern const Kernels kernels_##name;
#include "kernels/isas.inc"
#undef EVENBIT_ISA

const Kernels* const* all_kernels() {
  static const Kernels* const kAll[] = {
#define EVENBIT_ISA(name) &kernels_##name,
#include "kernels/isas.inc"
#undef EVENBIT_ISA
      nullptr};
  return kAll;
}

}  // namespace evenbit
