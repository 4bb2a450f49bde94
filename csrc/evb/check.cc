// Checking a Plan: the same rules, in the same order, as in evenbit/plan.py; those of single ops are in ops/.
#include "evb/plan.h"
#include "ops/ops.h"
#include "ops/scope.h"

namespace evenbit {
namespace {

Shape image_shape(const Plan& plan) {
  require(plan.tensors.count(kImages) == 0, "a tensor is named 'images', which is the name of the input");
  require(plan.channels >= 1 && plan.height >= 1 && plan.width >= 1 &&
              product_fits({plan.channels, plan.height, plan.width}, kMaxElements),
          "input size is out of range");
  return {false, static_cast<int>(plan.height), static_cast<int>(plan.width), static_cast<int>(plan.channels)};
}

// Checks an op and records what it writes; returns the shape of its result.
Shape visit(const plan::Op& op, Scope& scope, bool is_first) {
  const bool reads_images = op.input == kImages;
  require(reads_images == (dynamic_cast<const plan::Normalize*>(&op) != nullptr) && reads_images == is_first,
          "the first op and no other should be a normalize op and read 'images'");
  const Shape result = op.result(scope.value(op.input, op.reads_bits()), scope);
  scope.check_tail(op.tail, result);
  require(op.out || op.tail.mean || op.tail.bits, "writes nothing");
  if (op.out) scope.write(*op.out, result);
  if (op.tail.mean) scope.write(*op.tail.mean, vector_of(result.channels));
  if (op.tail.bits) scope.write(op.tail.bits->out, {true, result.height, result.width, result.channels});
  return result;
}

}  // namespace

CheckedShapes check_plan(const Plan& plan) {
  Scope scope(plan.tensors);
  scope.write(kImages, image_shape(plan));
  CheckedShapes shapes;
  for (const auto& op : plan.ops) {
    try {
      shapes.results.push_back(visit(*op, scope, shapes.results.empty()));
    } catch (const PlanError& error) {
      throw PlanError("op '" + op->name + "' (" + op->kind() + "): " + error.what());
    }
  }
  shapes.values = scope.values();
  const auto output = shapes.values.find(plan.output);
  const auto classes = static_cast<int64_t>(plan.classes.size());
  require(plan.output != kImages && output != shapes.values.end() && !output->second.bits &&
              output->second.channels == classes,
          "output '" + plan.output + "' should be floats of " + std::to_string(classes) +
              " channels, one logit for each class");
  return shapes;
}

}  // namespace evenbit
