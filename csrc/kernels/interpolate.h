// A map in another size: see Interpolate in evenbit/ops/interpolate.py.
#pragma once

#include "kernels/tail.h"

namespace evenbit {

// Two neighbours of a row or column of the result, and their weights.
struct Neighbours {
  int64_t places[2];
  float weights[2];
};

// Tasks: rows.
struct Interpolate {
  FloatView in;
  const Neighbours* rows;
  const Neighbours* columns;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

BlockOf mixed(const BlockOf& a, const BlockOf& b, const Neighbours& of) {
  BlockOf v;
  EVENBIT_EACH(n) v.v[n] = add(mul(a.v[n], broadcast(of.weights[0])), mul(b.v[n], broadcast(of.weights[1])));
  return v;
}

void interpolate(const Interpolate& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    const Neighbours& rows = op.rows[y];
    for (int x = 0; x < op.width; ++x) {
      const Neighbours& columns = op.columns[x];
      for (int block = 0; block < op.blocks; ++block) {
        const auto row = [&](int side) {
          const auto at = [&](int of) {
            return load_block(op.in.at(rows.places[side], columns.places[of]) + int64_t{block} * kBlock);
          };
          return mixed(at(0), at(1), columns);
        };
        BlockOf tile[1] = {mixed(row(0), row(1), rows)};
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
