// Binary convolution by tables, for instruction sets that look up bytes faster than they count bits.
//
// For four inputs of a pixel, the number of differing signs is a function of the four weights: a table of 16 bytes, one
// for each value of the inputs. A step broadcasts the table of the inputs and looks up the weights of all outputs in
// it, one output a byte, so there is nothing but a lookup and an addition:
//
//   counts[o] += table[a][w[o]],   table[a][w] = popcount(a xor w)
//
// (the idea is that of T-MAC, Wei et al., EuroSys 2025, with the roles of weights and inputs exchanged). Bytes hold the
// counts of kMaxSteps steps and are then added to 32-bit counts in memory. The inputs come expanded: one byte for four
// bits, 16 times their value, which is where their table begins.
namespace evenbit {
namespace {

constexpr int kStepBits = 4;
constexpr int kByteBlocks = kByteLanes / kBlock;
constexpr int kMaxSteps = 255 / kStepBits;

// Steps that are done at once, of those that are left of a kernel row.
inline int steps_of(int left) { return left < kMaxSteps ? left : kMaxSteps; }

struct alignas(64) Tables {
  uint8_t of[16][16];
};

constexpr Tables make_tables() {
  Tables tables{};
  for (int a = 0; a < 16; ++a) {
    for (int w = 0; w < 16; ++w) {
      const int x = a ^ w;
      tables.of[a][w] = static_cast<uint8_t>((x & 1) + (x >> 1 & 1) + (x >> 2 & 1) + (x >> 3 & 1));
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

template <int kTilePixels, int kTileBlocks>
struct BinaryTile {
  static constexpr int kPixels = kTilePixels;
  static constexpr int kBlocks = kTileBlocks;
  // Pixels of a vector: one, or where the tile has one block, which fills a part of it, as many as there are parts.
  static constexpr int kShare = kTileBlocks == 1 ? kByteBlocks : 1;
  static constexpr int kRestBlocks = kByteBlocks / kShare;
  static constexpr int kLanesTogether = kByteLanes / kShare;

  template <int kP, int kB>
  static void run(const BinaryConv& op, int y, int x, int block) {
    constexpr int kByteVectors = kB / kRestBlocks, kColumns = (kP + kShare - 1) / kShare;
    alignas(64) uint32_t counts[kByteVectors][kColumns][kByteLanes] = {};
    const uint8_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
    const int64_t step = int64_t{op.stride_x} * op.in_pixel;
    const int64_t vector_stride = int64_t{op.kh} * op.run * kLanesTogether;
    const uint8_t* weight = static_cast<const uint8_t*>(op.weight) + block / kRestBlocks * vector_stride;
    prefetch<kP, kB>(op.tail, y, x, block);
    for (int ky = 0, first = 0; ky < op.kh;) {
      B sums[kByteVectors][kColumns];
      EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
        EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) sums[v][c] = zero_bytes();
      }
      int steps = steps_of(op.run - first);
      for (int room = kMaxSteps; ky < op.kh && steps <= room; steps = steps_of(op.run - first)) {
        room -= steps;
        for (const int end = first + steps; first < end; ++first, weight += kLanesTogether) {
          B w[kByteVectors];
          EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
            w[v] = kShare == 1 ? load_bytes(weight + v * vector_stride) : broadcast_table(weight);
            opaque(w[v]);
          }
          EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) {
            const B table = tables<kP>(in + first, step, c);
            EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
              sums[v][c] = add_bytes(sums[v][c], look_up(table, w[v]));
              opaque(sums[v][c]);  // or the compiler copies all sums in each step
            }
          }
        }
        if (first == op.run) {
          ++ky;
          in += op.in_row;
          first = 0;
        }
      }
      EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
        EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) add_widened(counts[v][c], sums[v][c]);
      }
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      if (block + b == op.blocks) break;  // a vector of bytes may cover more blocks than there are
      BlockOf tile[kP];
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
        const uint32_t* const count = counts[b / kRestBlocks][p / kShare] + (b % kRestBlocks + p % kShare) * kBlock;
        EVENBIT_EACH(n) tile[p].v[n] = dot_from_count(op.fan_in, load_units(count + n * kLanes));
      }
      finish<kP>(op.tail, tile, y, x, block + b);
    }
  }

  // The tables of the pixels whose counts are in column c; in[p * step] is where that of pixel p begins.
  template <int kP>
  static B tables(const uint8_t* in, int64_t step, int c) {
    const auto table = [&](int p) { return &kTables.of[0][0] + in[(p < kP ? p : kP - 1) * step]; };
    if constexpr (kShare == 1) {
      return broadcast_table(table(c));
    } else {
      const uint8_t* const of[kShare] = {table(2 * c), table(2 * c + 1)};
      return join_tables(of);
    }
  }
};

void expand_bits(const uint8_t* bits, uint8_t* expanded, int64_t bytes) {
  for (int64_t i = 0; i < bytes; ++i) {
    expanded[2 * i] = static_cast<uint8_t>(bits[i] << 4);
    expanded[2 * i + 1] = bits[i] & 0xF0;
  }
}

// The inner step of a tile on registers alone, `rounds` times; returns the number of 1-bit multiply-adds.
int64_t binary_limit(int64_t rounds) {
  constexpr int kPixels = kBinaryPixels, kByteVectors = kBinaryBlocks / kByteBlocks;
  B sums[kPixels][kByteVectors], tables[kPixels], weights[kByteVectors];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    tables[p] = broadcast_table(kTables.of[p]);
    EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) sums[p][v] = zero_bytes();
  }
  EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
    weights[v] = broadcast_table(kTables.of[v]);
    opaque(weights[v]);
  }
  for (int64_t round = 0; round < rounds; ++round) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      opaque(tables[p]);
      EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
        sums[p][v] = add_bytes(sums[p][v], look_up(tables[p], weights[v]));
      }
    }
  }
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) opaque(sums[p][v]);
  }
  return rounds * kPixels * kByteVectors * kByteLanes * kStepBits;
}

}  // namespace
}  // namespace evenbit
