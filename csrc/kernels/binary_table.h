// Binary convolution by tables, for instruction sets that look up bytes faster than they count bits.
//
// For four inputs of a pixel, the number of differing signs is a function of the four weights: a table of 16 bytes, one
// for each value of the inputs. That number is at most 4, so a byte has room for two of them, and a table serves two
// pixels at once: one pixel's count in the lower half, that of the next in the upper half. A step broadcasts the table
// of their inputs a and b and looks up the weights of all outputs in it, one output a byte:
//
//   pairs[o] += table[a][b][w[o]],   table[a][b][w] = popcount(a xor w) + 16 * popcount(b xor w)
//
// (the idea of lookups is that of T-MAC, Wei et al., EuroSys 2025, with the roles of weights and inputs exchanged).
// A half holds the counts of kGroup steps: 3 * 4 < 16. A group of steps ends with
//
//   both[o] += pairs[o] mod 256,   upper[o] += pairs[o] / 16
//
// After at most kMaxSteps steps, whose counts a byte can hold, the counts of the lower half are both - 16 * upper
// mod 256. Those of both halves are then added to 16-bit counts in memory.
namespace evenbit {
namespace {

constexpr int kStepBits = 4;
constexpr int kByteBlocks = kByteLanes / kBlock;
constexpr int kGroup = 15 / kStepBits;
constexpr int kMaxSteps = 255 / kStepBits;
constexpr int64_t kMaxFanIn = 65535;
static_assert(kMaxSteps % kGroup == 0);

// Steps that are done at once, of those that are left of a kernel row.
inline int steps_of(int left) { return left < kMaxSteps ? left : kMaxSteps; }

struct alignas(64) Tables {
  uint8_t of[256][16];  // a + 16 * b
};

constexpr int popcount4(int x) { return (x & 1) + (x >> 1 & 1) + (x >> 2 & 1) + (x >> 3 & 1); }

constexpr Tables make_tables() {
  Tables tables{};
  for (int ab = 0; ab < 256; ++ab) {
    for (int w = 0; w < 16; ++w) {
      tables.of[ab][w] = static_cast<uint8_t>(popcount4((ab & 15) ^ w) + 16 * popcount4(ab >> 4 ^ w));
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

// The counts of pairs of pixels, kColumns vectors for each of kRows.
template <int kRows, int kColumns>
struct PairCounts {
  B both[kRows][kColumns], upper[kRows][kColumns];

  EVENBIT_INLINE void clear() {
    EVENBIT_UNROLL for (int v = 0; v < kRows; ++v) {
      EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) both[v][c] = upper[v][c] = zero_bytes();
    }
  }

  // Adds kSteps steps; weights(step, row) and table(step, column) load what they look up and where.
  template <int kSteps, class Weights, class Table>
  EVENBIT_INLINE void add_group(const Weights& weights, const Table& table) {
    B pairs[kRows][kColumns];
    EVENBIT_UNROLL for (int s = 0; s < kSteps; ++s) {
      B w[kRows];
      EVENBIT_UNROLL for (int v = 0; v < kRows; ++v) {
        w[v] = weights(s, v);
        opaque(w[v]);  // else it would be loaded again for each column
      }
      EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) {
        const B t = table(s, c);
        EVENBIT_UNROLL for (int v = 0; v < kRows; ++v) {
          const B found = look_up(t, w[v]);
          pairs[v][c] = s == 0 ? found : add_bytes(pairs[v][c], found);
          opaque(pairs[v][c]);  // or the compiler copies all sums in each step
        }
      }
    }
    EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) {
      EVENBIT_UNROLL for (int v = 0; v < kRows; ++v) {
        upper[v][c] = add_bytes(upper[v][c], upper_halves(pairs[v][c]));
        both[v][c] = add_bytes(both[v][c], pairs[v][c]);
        opaque(upper[v][c]);
        opaque(both[v][c]);
      }
    }
  }

  EVENBIT_INLINE B lower(int v, int c) const {
    B shifted = upper[v][c];
    EVENBIT_UNROLL for (int i = 0; i < 4; ++i) shifted = add_bytes(shifted, shifted);
    return subtract_bytes(both[v][c], shifted);
  }
};

template <int kTilePixels, int kTileBlocks>
struct BinaryTile {
  static constexpr int kPixels = kTilePixels;
  static constexpr int kBlocks = kTileBlocks;
  // Pairs of a vector: one, or where the tile has one block, which fills a part of it, as many as there are parts.
  static constexpr int kShare = kTileBlocks == 1 ? kByteBlocks : 1;
  static constexpr int kRestPixels = kPixels;
  static constexpr int kRestBlocks = kByteBlocks / kShare;
  static constexpr int kLanesTogether = kByteLanes / kShare;

  template <int kP, int kB>
  static void run(const BinaryConv& op, int y, int x, int block) {
    constexpr int kByteVectors = kB / kRestBlocks, kColumns = (kP + 2 * kShare - 1) / (2 * kShare);
    alignas(64) uint16_t counts[kByteVectors][kColumns][2][kByteLanes];
    const uint8_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
    const int64_t step = int64_t{op.stride_x} * op.in_pixel;
    const int64_t vector_stride = int64_t{op.kh} * op.run * kLanesTogether;
    const uint8_t* weight = static_cast<const uint8_t*>(op.weight) + block / kRestBlocks * vector_stride;
    prefetch<kP, kB>(op.tail, y, x, block);
    bool more = false;  // whether counts has some already
    for (int ky = 0, first = 0; ky < op.kh; more = true) {
      PairCounts<kByteVectors, kColumns> sums;
      sums.clear();
      const auto weights = [&](int s, int v) {
        const uint8_t* const at = weight + s * kLanesTogether + v * vector_stride;
        return kShare == 1 ? load_bytes(at) : broadcast_table(at);
      };
      const auto table = [&](int s, int c) { return tables<kP>(in + (first + s) * kPairBytes / 2, step, c); };
      int steps = steps_of(op.run - first);
      for (int room = kMaxSteps; ky < op.kh && steps <= room; steps = steps_of(op.run - first)) {
        room -= steps;
        const int end = first + steps;
        for (; first + kGroup <= end; first += kGroup, weight += kGroup * kLanesTogether) {
          sums.template add_group<kGroup>(weights, table);
        }
        for (; first < end; ++first, weight += kLanesTogether) sums.template add_group<1>(weights, table);
        if (first == op.run) {
          ++ky;
          in += op.in_row;
          first = 0;
        }
      }
      EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) {
        EVENBIT_UNROLL for (int c = 0; c < kColumns; ++c) {
          widen(counts[v][c][0], sums.lower(v, c), more);
          widen(counts[v][c][1], sums.upper[v][c], more);
        }
      }
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      if (block + b == op.blocks) break;  // a vector of bytes may cover more blocks than there are
      BlockOf tile[kP];
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
        const int pair = p / 2;
        const uint16_t* const count =
            counts[b / kRestBlocks][pair / kShare][p % 2] + (b % kRestBlocks + pair % kShare) * kBlock;
        EVENBIT_EACH(n) tile[p].v[n] = dot_from_count(op.fan_in, load_counts(count + n * kLanes));
      }
      finish<kP>(op.tail, tile, y, x, block + b);
    }
  }

  // The tables of the pairs whose counts are in column c; in + p * step holds the inputs of pixel p and the next one.
  template <int kP>
  static B tables(const uint8_t* in, int64_t step, int c) {
    const auto table = [&](int pair) {
      uint16_t at;
      std::memcpy(&at, in + (2 * pair < kP ? 2 * pair : kP - 1) * step, sizeof at);
      return &kTables.of[0][0] + at;
    };
    if constexpr (kShare == 1) {
      return broadcast_table(table(c));
    } else {
      const uint8_t* const of[kShare] = {table(2 * c), table(2 * c + 1)};
      return join_tables(of);
    }
  }
};

// The place of its table for each four bits and those of the next pixel.
void pair_bits(const uint8_t* bits, uint8_t* pairs, int64_t bytes, int64_t next) {
  auto* const to = reinterpret_cast<uint16_t*>(pairs);
  const auto pair = [to](int64_t i, int a, int b) {
    to[2 * i] = static_cast<uint16_t>((a & 0x0F) << 4 | (b & 0x0F) << 8);
    to[2 * i + 1] = static_cast<uint16_t>((a & 0xF0) | (b & 0xF0) << 4);
  };
  const int64_t paired = bytes > next ? bytes - next : 0;
  for (int64_t i = 0; i < paired; ++i) pair(i, bits[i], bits[i + next]);
  for (int64_t i = paired; i < bytes; ++i) pair(i, bits[i], 0);
}

// The inner step of a tile on registers alone, `rounds` times; returns the number of 1-bit multiply-adds.
int64_t binary_limit(int64_t rounds) {
  constexpr int kPairs = kBinaryPixels / 2, kByteVectors = kBinaryBlocks / kByteBlocks;
  PairCounts<kByteVectors, kPairs> sums;
  sums.clear();
  B tables[kPairs], weights[kByteVectors];
  EVENBIT_UNROLL for (int p = 0; p < kPairs; ++p) tables[p] = broadcast_table(kTables.of[p]);
  EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) weights[v] = broadcast_table(kTables.of[v]);
  for (int64_t round = 0; round < rounds; ++round) {
    sums.template add_group<kGroup>([&](int, int v) { return weights[v]; },
                                    [&](int, int p) {
                                      opaque(tables[p]);
                                      return tables[p];
                                    });
  }
  EVENBIT_UNROLL for (int p = 0; p < kPairs; ++p) {
    EVENBIT_UNROLL for (int v = 0; v < kByteVectors; ++v) opaque(sums.both[v][p]);
  }
  return rounds * kGroup * kBinaryPixels * kByteVectors * kByteLanes * kStepBits;
}

}  // namespace
}  // namespace evenbit
