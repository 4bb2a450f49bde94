#include "evb/load.h"

#include "evb/plan.h"
#include "program/builder.h"

namespace evenbit {
namespace {

const Kernels& find_kernels(const std::string& isa) {
  for (const Kernels* const* k = all_kernels(); *k; ++k) {
    if ((*k)->name == isa && (*k)->supported()) return **k;
  }
  throw PlanError("this machine cannot run the instruction set '" + isa + "'");
}

}  // namespace

Network load_network(const uint8_t* data, size_t size, const std::string& isa, int threads, const std::string& tile) {
  const Kernels& kernels = find_kernels(isa);
  const BinaryKernel* const forced = tile.empty() ? nullptr : find_binary(kernels, tile);
  require(tile.empty() || forced, "the instruction set '" + isa + "' has no tile '" + tile + "'");
  Plan plan = read_plan(data, size);
  const CheckedShapes shapes = check_plan(plan);
  auto engine = std::make_unique<Engine>(Builder(plan, shapes, kernels, forced).build(), threads);
  return {std::move(plan.classes), std::move(engine)};
}

}  // namespace evenbit
