// The weights of a binary convolution as its kernel reads them.
#pragma once

#include "base/memory.h"

namespace evenbit {

// [outputs][words] to [outputs / lanes][steps][lanes], a step being the next `step_bits` bits of an output: 32, in a
// uint32_t, or 4, in a uint8_t.
template <typename Word>
Aligned<uint8_t> lay_out(const Word* weight, size_t outputs, size_t words, size_t step_bits, size_t lanes) {
  constexpr size_t kBits = 8 * sizeof(Word);
  const size_t steps = words * kBits / step_bits;
  const size_t bytes = step_bits == 32 ? sizeof(uint32_t) : sizeof(uint8_t);
  Aligned<uint8_t> result(round_up(outputs, lanes) * steps * bytes);
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t k = 0; k < steps; ++k) {
      const size_t bit = k * step_bits;
      const uint64_t word = uint64_t{weight[o * words + bit / kBits]} >> bit % kBits;
      const auto step = static_cast<uint32_t>(word & ((uint64_t{1} << step_bits) - 1));
      std::memcpy(&result[((o / lanes * steps + k) * lanes + o % lanes) * bytes], &step, bytes);
    }
  }
  return result;
}

}  // namespace evenbit
