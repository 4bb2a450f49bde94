#include "kernels/kernels.h"

#include <cmath>
#include <cstdlib>

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

const BinaryKernel* find_binary(const Kernels& kernels, const std::string& name) {
  for (const BinaryKernel* kernel = kernels.binary; kernel->name; ++kernel) {
    if (kernel->name == name) return kernel;
  }
  return nullptr;
}

const BinaryKernel* choose_binary(const Kernels& kernels, int blocks, int width) {
  struct Choice {
    const char* isa;
    int blocks;
    int width;
    const char* kernel;
  };
  static constexpr Choice kChoices[] = {
#include "kernels/choices.inc"
      {nullptr, 1, 1, nullptr}};
  const auto distance = [&](const Choice& choice) {
    return 2 * std::abs(std::log2(static_cast<double>(blocks) / choice.blocks)) +
           std::abs(std::log2(static_cast<double>(width) / choice.width));
  };
  const Choice* nearest = nullptr;
  for (const Choice* choice = kChoices; choice->isa; ++choice) {
    if (kernels.name != std::string(choice->isa)) continue;
    if (!nearest || distance(*choice) < distance(*nearest)) nearest = choice;
  }
  return nearest ? find_binary(kernels, nearest->kernel) : kernels.binary;
}

}  // namespace evenbit
