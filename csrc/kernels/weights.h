// The weights of a binary convolution as its kernel reads them.
#pragma once

#include <algorithm>

#include "base/memory.h"

namespace evenbit {

// Steps that a kernel row takes whose bits fill that many bytes; a step of 32 bits may be half empty.
inline size_t steps_of(size_t row_bytes, size_t step_bits) { return (row_bytes * 8 + step_bits - 1) / step_bits; }

// [outputs][rows][bytes of a row] to [outputs / lanes][rows][steps][lanes], a step being the next `step_bits` bits of a
// row: 32, in a uint32_t, or 4, in a uint8_t.
inline Aligned<uint8_t> lay_out(const uint8_t* weight, size_t outputs, size_t rows, size_t row_bytes, size_t step_bits,
                                size_t lanes) {
  const size_t steps = steps_of(row_bytes, step_bits), step_bytes = step_bits == 32 ? sizeof(uint32_t) : 1;
  Aligned<uint8_t> result(round_up(outputs, lanes) * rows * steps * step_bytes);
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t row = 0; row < rows; ++row, weight += row_bytes) {
      for (size_t k = 0; k < steps; ++k) {
        uint32_t step = 0;
        if (step_bits == 32) {
          std::memcpy(&step, weight + 4 * k, std::min(sizeof step, row_bytes - 4 * k));
        } else {
          step = weight[k / 2] >> k % 2 * 4 & 15;
        }
        const size_t at = ((o / lanes * rows + row) * steps + k) * lanes + o % lanes;
        std::memcpy(&result[at * step_bytes], &step, step_bytes);
      }
    }
  }
  return result;
}

}  // namespace evenbit
