// libFuzzer on the C library: whatever the bytes, evenbit_load gives a network or a reason, and a network runs.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "evb/plan.h"
#include "evb_file.h"
#include "evenbit.h"
#include "ops/ops.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using evenbit::EvbFile;
using Json = nlohmann::ordered_json;
using Random = std::minstd_rand;

constexpr double kMostWork = 1e6;  // multiply-adds of a network that is run
const double kNumbers[] = {-1, 0, 1, 2, 3, 7, 16, 64, 32768, 32769, 16777216, 268435456, 2147483648.0, 4294967296.0};

double elements(const evenbit::Tensor& tensor) {
  double count = 1;
  for (const int64_t size : tensor.shape) count *= static_cast<double>(size);
  return count;
}

// Of a network that the library has accepted, at most. What a file may ask for is bounded, but at a size no fuzzer
// waits for.
double work(const uint8_t* data, size_t size) {
  const evenbit::Plan plan = evenbit::read_plan(data, size);
  const evenbit::CheckedShapes shapes = evenbit::check_plan(plan);
  double most = 1;  // for an output
  for (const auto& [name, tensor] : plan.tensors) most = std::max(most, elements(tensor));
  for (const auto& op : plan.ops) {
    const auto* const max = dynamic_cast<const evenbit::plan::MaxPool*>(op.get());
    const auto* const avg = dynamic_cast<const evenbit::plan::AvgPool*>(op.get());
    if (max) most = std::max(most, static_cast<double>(max->kernel[0] * max->kernel[1]));
    if (avg) most = std::max(most, static_cast<double>(avg->kernel[0] * avg->kernel[1]));
  }
  double outputs = 0;
  for (const evenbit::Shape& shape : shapes.results) outputs += double{1} * shape.height * shape.width * shape.channels;
  return outputs * most;
}

size_t draw(Random& random, size_t count) { return random() % count; }

void collect(Json& value, std::vector<Json*>& nodes) {
  nodes.push_back(&value);
  if (value.is_structured()) {
    for (Json& part : value) collect(part, nodes);
  }
}

// Changes one node, in place: takes the value of another, a number at a limit, other bytes, or more or fewer parts.
void change(Json& root, Random& random) {
  std::vector<Json*> nodes;
  collect(root, nodes);
  nodes.erase(nodes.begin());  // the root stays what it is
  if (nodes.empty()) return;
  Json& node = *nodes[draw(random, nodes.size())];
  const Json other = *nodes[draw(random, nodes.size())];
  switch (draw(random, 5)) {
    case 0:
      node = other;
      break;
    case 1:
      if (node.is_number_integer()) {
        node = node.get<uint64_t>() + draw(random, 5) - 2;  // wraps
      } else {
        node = static_cast<int64_t>(kNumbers[draw(random, std::size(kNumbers))]);
      }
      break;
    case 2:
      if (node.is_string()) {
        auto text = node.get<std::string>();
        text.resize(text.size() + 4);
        text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), text.size() - 4, text.size()));
        node = text;
      } else {
        node = std::ldexp(1.0, static_cast<int>(draw(random, 300)) - 150);
      }
      break;
    case 3:
      if (node.is_array()) node.insert(node.begin() + static_cast<long>(draw(random, node.size() + 1)), other);
      if (node.is_object()) node[std::to_string(draw(random, 10))] = other;
      break;
    default:
      if (node.is_structured() && !node.empty()) {
        auto part = node.begin();
        std::advance(part, static_cast<long>(draw(random, node.size())));
        node.erase(part);
      }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  char error[256] = "";
  evenbit_network* const network = evenbit_load(data, size, 1, nullptr, error, sizeof error);
  if (!network) {
    if (error[0] == '\0' || std::strchr(error, '\n')) std::abort();  // the reason is one line
    return 0;
  }
  if (work(data, size) <= kMostWork) {
    const auto pixels = size_t{1} * evenbit_channels(network) * evenbit_height(network) * evenbit_width(network);
    const std::vector<uint8_t> image(pixels, 99);
    std::vector<float> logits(static_cast<size_t>(evenbit_classes(network)) * evenbit_output_height(network) *
                              evenbit_output_width(network));
    if (evenbit_run_uint8(network, image.data(), 1, logits.data()) != EVENBIT_OK) std::abort();
  }
  evenbit_free(network);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  Random random(seed + 1);
  auto file = EvbFile::parse(data, size);
  const size_t kind = draw(random, 8);
  if (!file || kind == 0) return LLVMFuzzerMutate(data, size, max_size);
  if (kind == 1) {
    change(file->header, random);
  } else if (kind == 2 && !file->data.empty()) {
    LLVMFuzzerMutate(file->data.data(), file->data.size(), file->data.size());
  } else {
    change(file->content["plan"], random);
  }
  const std::vector<uint8_t> bytes = file->signed_bytes();
  if (bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(bytes.begin(), bytes.end(), data);
  return bytes.size();
}
