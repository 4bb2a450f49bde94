// A convolution, tile by tile: kPixels neighbouring output pixels x kBlocks blocks of outputs, which fill the
// registers.
//
// A Tile has kPixels, kBlocks, kRestPixels and kRestBlocks (of the tiles for blocks that are left over), and a static
// function run<pixels, blocks>(op, y, x, block).
#pragma once

#include "kernels/views.h"

#ifdef EVENBIT_BODIES
namespace evenbit {
namespace {

// The pixels that are left over at the end of a row, fewer than a tile's, as a tile of their own.
template <class Tile, int kPixels, int kBlocks, class Op>
void rest_of_row(const Op& op, int y, int x, int block) {
  if constexpr (kPixels > 0) {
    if (op.width - x == kPixels) {
      Tile::template run<kPixels, kBlocks>(op, y, x, block);
    } else {
      rest_of_row<Tile, kPixels - 1, kBlocks>(op, y, x, block);
    }
  }
}

template <class Tile, int kBlocks, class Op>
void row_of_tiles(const Op& op, int y, int block) {
  int x = 0;
  if constexpr (kBlocks == Tile::kRestBlocks && Tile::kRestPixels > Tile::kPixels) {
    for (; x + Tile::kRestPixels <= op.width; x += Tile::kRestPixels) {
      Tile::template run<Tile::kRestPixels, kBlocks>(op, y, x, block);
    }
  }
  for (; x + Tile::kPixels <= op.width; x += Tile::kPixels) {
    Tile::template run<Tile::kPixels, kBlocks>(op, y, x, block);
  }
  rest_of_row<Tile, Tile::kPixels - 1, kBlocks>(op, y, x, block);
}

// Tasks: (group of Tile::kBlocks blocks, output row).
template <class Tile, class Op>
void run_tiles(const Op& op, Range tasks) {
  for (int64_t task = tasks.begin; task < tasks.end; ++task) {
    const int block = static_cast<int>(task / op.height) * Tile::kBlocks;
    const int y = static_cast<int>(task % op.height);
    if (block + Tile::kBlocks <= op.blocks) {
      row_of_tiles<Tile, Tile::kBlocks>(op, y, block);
    } else {
      for (int b = block; b < op.blocks; b += Tile::kRestBlocks) row_of_tiles<Tile, Tile::kRestBlocks>(op, y, b);
    }
  }
}

}  // namespace
}  // namespace evenbit
#endif
