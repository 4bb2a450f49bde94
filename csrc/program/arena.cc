// The arena: where each value lies while it is needed.
#include <algorithm>

#include "program/program.h"

namespace evenbit {
namespace {

// Whether the node may write its map over `source`: read by it pixel by pixel, by no later node, and laid out alike.
bool may_overwrite(const Program& program, const Node& node, int index, int source) {
  if (source == kNone || node.out == kNone) return false;
  const Value &from = program.values[source], &to = program.values[node.out];
  const auto& whole = node.whole;
  return from.last == index && std::find(whole.begin(), whole.end(), source) == whole.end() &&
         source != node.threshold && from.form == to.form && from.channels == to.channels && from.height == to.height &&
         from.width == to.width && from.border_y == to.border_y && from.border_x == to.border_x;
}

// The value that the node's map is written over, if there is one.
int overwritten(const Program& program, const Node& node, int index) {
  if (may_overwrite(program, node, index, node.residual)) return node.residual;
  for (const int source : node.pixelwise) {
    if (may_overwrite(program, node, index, source)) return source;
  }
  return kNone;
}

}  // namespace

std::vector<int> written(const Program& program, const Node& node) {
  std::vector<int> ids;
  for (int id : {node.out, node.mean, node.bits, node.row_sums, node.quantized}) {
    if (id != kNone) ids.push_back(id);
  }
  if (node.bits != kNone) {
    const auto& twins = program.values[node.bits].twins;
    ids.insert(ids.end(), twins.begin(), twins.end());
  }
  return ids;
}

// First fit, in the order of the nodes: a value takes the lowest gap among those that are alive with it.
void plan_arena(Program& program) {
  std::vector<const Value*> alive;  // by offset
  const auto by_offset = [](const Value* a, const Value* b) { return a->offset < b->offset; };
  for (int i = 0; i < static_cast<int>(program.nodes.size()); ++i) {
    const Node& node = program.nodes[i];
    alive.erase(std::remove_if(alive.begin(), alive.end(), [&](const Value* v) { return v->last < i; }), alive.end());
    for (const int id : written(program, node)) {
      Value& v = program.values[id];
      const int over = id == node.out ? overwritten(program, node, i) : kNone;
      if (over != kNone) {
        v.offset = program.values[over].offset;
      } else {
        v.offset = 0;
        for (const Value* other : alive) {
          if (v.offset + v.bytes() <= other->offset) break;
          v.offset = std::max(v.offset, round_up(other->offset + other->bytes(), kAlignment));
        }
      }
      alive.insert(std::upper_bound(alive.begin(), alive.end(), &v, by_offset), &v);
      program.arena_bytes = std::max(program.arena_bytes, v.offset + v.bytes());
      require(program.arena_bytes <= kMaxBytes, "the network needs more than 2 GiB of memory for one image");
    }
  }
}

}  // namespace evenbit
