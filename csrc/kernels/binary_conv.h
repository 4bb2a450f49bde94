// The tiles of a binary convolution, row by row. Included by an ISA file after the header of its tile.
namespace evenbit {
namespace {

// The pixels that are left over at the end of a row, fewer than a tile's, as a tile of their own.
template <int kPixels, int kBlocks>
void binary_rest(const BinaryConv& op, int y, int x, int block) {
  if constexpr (kPixels > 0) {
    if (op.width - x == kPixels) {
      binary_tile<kPixels, kBlocks>(op, y, x, block);
    } else {
      binary_rest<kPixels - 1, kBlocks>(op, y, x, block);
    }
  }
}

template <int kBlocks>
void binary_row(const BinaryConv& op, int y, int block) {
  int x = 0;
  for (; x + kBinaryPixels <= op.width; x += kBinaryPixels) binary_tile<kBinaryPixels, kBlocks>(op, y, x, block);
  binary_rest<kBinaryPixels - 1, kBlocks>(op, y, x, block);
}

void binary_conv(const BinaryConv& op, Range tasks) {
  for (int64_t task = tasks.begin; task < tasks.end; ++task) {
    const int block = static_cast<int>(task / op.height) * kBinaryBlocks;
    const int y = static_cast<int>(task % op.height);
    if (block + kBinaryBlocks <= op.blocks) {
      binary_row<kBinaryBlocks>(op, y, block);
    } else {
      for (int b = block; b < op.blocks; b += kRestBlocks) binary_row<kRestBlocks>(op, y, b);
    }
  }
}

}  // namespace
}  // namespace evenbit
