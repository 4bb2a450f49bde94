#include "engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

namespace evenbit {

namespace {

std::vector<const Node*> nodes_with_bits(const Program& program) {
  std::vector<const Node*> nodes;
  for (const Node& node : program.nodes) {
    if (node.bits != kNone) nodes.push_back(&node);
  }
  return nodes;
}

std::vector<Shape> shapes_of_bits(const Program& program, const std::vector<const Node*>& nodes) {
  std::vector<Shape> shapes;
  for (const Node* node : nodes) {
    const Value& v = program.values[node->bits];
    shapes.push_back({true, v.height, v.width, v.channels});
  }
  return shapes;
}

}  // namespace

// What one image needs while it is computed.
struct Engine::Context {
  explicit Context(const Program& program) : arena(program.arena_bytes), memory(program, arena.data(), input) {}

  Aligned<uint8_t> arena;
  Input input;
  Memory memory;
  std::vector<Step> steps;
  std::vector<int> first_of_step;  // The chunks that the pool's threads take: at most one a thread for each step.
  std::vector<int> step_of_chunk;
};

Engine::Engine(Program program, int threads)
    : program_(std::move(program)),
      bit_nodes_(nodes_with_bits(program_)),
      bit_maps_(shapes_of_bits(program_, bit_nodes_)),
      pool_(std::max(1, threads)) {}

Engine::~Engine() {
  for (const auto& spare : spare_) delete spare.load();
}

std::unique_ptr<Engine::Context> Engine::new_context() const {
  auto context = std::make_unique<Context>(program_);
  context->steps = bind(program_, context->memory);
  for (const Step& step : context->steps) {
    const int index = static_cast<int>(context->first_of_step.size());
    context->first_of_step.push_back(static_cast<int>(context->step_of_chunk.size()));
    context->step_of_chunk.insert(context->step_of_chunk.end(), std::min<int64_t>(step.tasks, pool_.threads()), index);
  }
  return context;
}

std::unique_ptr<Engine::Context> Engine::take_context() {
  for (auto& spare : spare_) {
    if (!spare.load(std::memory_order_relaxed)) continue;
    if (Context* const context = spare.exchange(nullptr)) return std::unique_ptr<Context>(context);
  }
  return new_context();
}

void Engine::give_back(std::unique_ptr<Context> context) {
  for (auto& spare : spare_) {
    Context* none = nullptr;
    if (spare.compare_exchange_strong(none, context.get())) return (void)context.release();
  }
}

Shape Engine::output() const {
  const Value& v = program_.values[program_.output];
  return {false, v.height, v.width, v.channels};
}

void Engine::copy_logits(const Context& context, float* logits) const {
  const Shape size = output();
  const FloatView map = context.memory.floats(program_.output);
  if (size.height == 1 && size.width == 1) {
    std::memcpy(logits, map.base, static_cast<size_t>(size.channels) * sizeof(float));
    return;
  }
  for (int c = 0; c < size.channels; ++c) {
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) *logits++ = map.at(y, x)[c];
    }
  }
}

void Engine::run_image(Context& context) const {
  for (const Step& step : context.steps) step.run({0, step.tasks});
}

void Engine::run_image_together(Context& context) {
  const int threads = pool_.threads();
  Dealer dealer(context.step_of_chunk, context.first_of_step);
  pool_.run([&](int) {
    for (int chunk = dealer.take(); chunk >= 0; chunk = dealer.take()) {
      const int s = context.step_of_chunk[chunk];
      const Step& step = context.steps[s];
      const int64_t chunks = std::min<int64_t>(step.tasks, threads);
      const int64_t i = chunk - context.first_of_step[s];
      step.run({step.tasks * i / chunks, step.tasks * (i + 1) / chunks});
      dealer.finish();
    }
  });
}

bool Engine::run(const float* floats, const uint8_t* bytes, int64_t count, float* logits) {
  const Shape& shape = program_.images;
  const int64_t size = int64_t{shape.channels} * shape.height * shape.width;
  std::unique_lock<std::mutex> pool_lock(pool_mutex_, std::try_to_lock);
  const Shape result = output();
  const int64_t count_of_logits = int64_t{result.channels} * result.height * result.width;
  const int threads = pool_lock.owns_lock() ? pool_.threads() : 1;
  const bool together = count < threads;
  std::vector<std::unique_ptr<Context>> contexts;
  for (int i = 0; i < (together ? 1 : threads); ++i) contexts.push_back(take_context());

  std::atomic<int64_t> next{0};
  std::atomic<bool> finite{true};
  const auto work = [&](int worker) {
    Context& context = *contexts[worker];
    for (int64_t i = next++; i < count; i = next++) {
      context.input = {floats ? floats + i * size : nullptr, bytes ? bytes + i * size : nullptr};
      together ? run_image_together(context) : run_image(context);
      copy_logits(context, logits + i * count_of_logits);
      if (!context.input.finite) finite.store(false);
    }
  };
  if (together || threads == 1) {
    work(0);
  } else {
    pool_.run(work);
  }
  for (auto& context : contexts) give_back(std::move(context));
  return finite.load();
}

void Engine::read_bits(const uint8_t* image, size_t map, uint8_t* bits) {
  const Node& node = *bit_nodes_.at(map);
  const Value& v = program_.values[node.bits];
  auto context = take_context();
  context->input = {nullptr, image};
  // Later ops may write over the bits.
  for (const Step& step : context->steps) {
    if (step.op <= node.op) step.run({0, step.tasks});
  }
  const uint8_t* const first = context->memory.window(node.bits, 0, 0);
  for (int c = 0; c < v.channels; ++c) {
    for (int y = 0; y < v.height; ++y) {
      for (int x = 0; x < v.width; ++x) {
        *bits++ = first[y * v.row_bytes() + x * v.pixel_bytes() + c / 8] >> c % 8 & 1;
      }
    }
  }
  give_back(std::move(context));
}

std::vector<Engine::OpTime> Engine::profile(const float* image, int rounds) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](const std::function<void(Range)>& run, int64_t tasks) {
    const auto start = Clock::now();
    run({0, tasks});
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  auto context = take_context();
  context->input = {image};
  const std::vector<double> zeros(rounds);
  std::vector<std::array<std::vector<double>, 3>> times(program_.ops, {zeros, zeros, zeros});
  for (int round = 0; round < rounds; ++round) {
    for (const Step& step : context->steps) {
      auto& [all, sums, tail] = times[step.op];
      all[round] += seconds(step.run, step.tasks);
      if (step.sums) sums[round] = seconds(step.sums, step.tasks);
      if (step.tail) tail[round] = seconds(step.tail, step.tasks);
    }
  }
  give_back(std::move(context));
  const auto median = [&](std::vector<double>& values) {
    const auto middle = values.begin() + rounds / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  };
  std::vector<OpTime> medians;
  for (auto& [all, sums, tail] : times) medians.push_back({median(all), median(sums), median(tail)});
  return medians;
}

double Engine::measure_binary_limit() const {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kRounds = 20000;
  double best = 0;
  for (int i = 0; i < 50; ++i) {
    const auto start = Clock::now();
    const int64_t macs = program_.kernels->binary_limit(kRounds);
    best = std::max(best, static_cast<double>(macs) / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace evenbit
