// Running a program: binding it to an arena, then step by step.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>

#include "program.h"

namespace evenbit {
namespace {

template <typename T>
const T* or_null(const Aligned<T>& vector) {
  return vector.size() ? vector.data() : nullptr;
}

int64_t groups_of(int blocks, int size) { return (blocks + size - 1) / size; }

}  // namespace

FloatView Engine::float_view(Context& context, int id) const {
  if (id == kNone) return {};
  const Value& v = value(id);
  return {reinterpret_cast<float*>(context.arena.data() + v.origin()),
          static_cast<int64_t>(v.row_bytes() / sizeof(float)), static_cast<int64_t>(v.pixel_bytes() / sizeof(float))};
}

FloatView Engine::spread_view(Context& context, int id) const {
  FloatView view = float_view(context, id);
  if (id != kNone && value(id).height == 1 && value(id).width == 1) view.row = view.pixel = 0;
  return view;
}

// Cuts each map where a block of the result ends.
std::vector<Piece> Engine::pieces(Context& context, const Op& op) const {
  std::vector<int> parts{op.in};
  parts.insert(parts.end(), op.others.begin(), op.others.end());
  std::vector<Piece> result;
  int channel = 0;
  for (int id : parts) {
    FloatView from = float_view(context, id);
    const int end = channel + value(id).channels;
    while (channel < end) {
      const int lane = channel % kBlock;
      const int count = std::min(kBlock - lane, end - channel);
      const int block = channel / kBlock;
      channel += count;
      result.push_back({from, lane, count, block, channel % kBlock == 0 || channel == op.channels});
      from.base += count;
    }
  }
  return result;
}

Tail Engine::bind_tail(Context& context, const Op& op) const {
  Tail tail;
  tail.scale = or_null(op.scale);
  tail.bias = or_null(op.bias);
  tail.slope = or_null(op.slope);
  tail.low = or_null(op.low);
  tail.high = or_null(op.high);
  tail.shift = or_null(op.shift);
  tail.sigmoid = op.sigmoid;
  tail.softsign = op.softsign;
  tail.residual = spread_view(context, op.residual);
  tail.out = float_view(context, op.out);
  if (op.quantized != kNone) {
    const Value& v = value(op.quantized);
    tail.quantized = {context.arena.data() + v.origin(), static_cast<int64_t>(v.row_bytes()),
                      static_cast<int64_t>(v.pixel_bytes()), op.multiplier};
  }
  if (op.row_sums != kNone) {
    const FloatView sums = float_view(context, op.row_sums);
    tail.row_sums = sums.base;
    tail.row_sums_stride = sums.row;
  }
  if (op.bits != kNone) {
    const Value& v = value(op.bits);
    tail.bits = {reinterpret_cast<uint16_t*>(context.arena.data() + v.origin()),
                 static_cast<int64_t>(v.row_bytes() / sizeof(uint16_t)),
                 static_cast<int64_t>(v.pixel_bytes() / sizeof(uint16_t))};
    tail.blocks = v.blocks();
    tail.units = v.words() * (kWordBits / kBlock);
    tail.threshold = op.threshold_value == kNone ? op.threshold.data() : float_view(context, op.threshold_value).base;
    tail.flip = op.flip.data();
    tail.valid = op.valid.data();
  }
  return tail;
}

void Engine::bind(Context& context, const Op& op) const {
  Step step;
  const Tail tail = bind_tail(context, op);
  const auto [kh, kw] = op.kernel;
  const auto [sy, sx] = op.stride;
  switch (op.kind) {
    case Kind::kNormalize:
      step = {Normalize{nullptr, nullptr, op.channels, op.height, op.width, op.blocks(), tail}, op.height};
      break;
    case Kind::kElementwise:
      step = {Elementwise{float_view(context, op.in), spread_view(context, op.factor), or_null(op.cube_scale),
                          or_null(op.offset), op.height, op.width, op.blocks(), tail},
              op.height};
      break;
    case Kind::kConcat: {
      context.pieces.push_back(std::make_unique<std::vector<Piece>>(pieces(context, op)));
      const std::vector<Piece>& all = *context.pieces.back();
      step = {Concat{all.data(), static_cast<int>(all.size()), op.height, op.width, tail}, op.height};
      break;
    }
    case Kind::kFlatten: {
      const Value& in = value(op.in);
      step = {Flatten{float_view(context, op.in), in.height, in.width, in.channels, op.blocks(), tail}, 1};
      break;
    }
    case Kind::kPool: {
      const Value& in = value(op.in);
      step = {Pool2d{float_view(context, op.in), op.max, kh, kw, sy, sx, op.padding[0], op.padding[1], in.height,
                     in.width, op.height, op.width, op.blocks(), tail},
              op.height};
      break;
    }
    case Kind::kConv: {
      FloatView in = float_view(context, op.in);
      in.base = in.at(-op.padding[0], -op.padding[1]);
      const int64_t groups = op.shares_inputs() ? groups_of(op.blocks(), kernels_->conv_blocks) : 1;
      step = {Conv{in, op.weight.data(), kh, kw, op.per_group, op.groups, op.channels, sy, sx, op.height, op.width,
                   op.blocks(), tail},
              groups * op.height};
      break;
    }
    case Kind::kInt8Conv: {
      const Value& in = value(op.in);
      const auto row = static_cast<int64_t>(in.row_bytes()), pixel = static_cast<int64_t>(in.pixel_bytes());
      const uint8_t* first = context.arena.data() + in.origin() - op.padding[0] * row - op.padding[1] * pixel;
      step = {Int8Conv{first, row, pixel, op.packed_weight.data(), op.start.data(), kh, op.row_units, sy, sx, op.height,
                       op.width, op.blocks(), tail},
              groups_of(op.blocks(), kernels_->conv_blocks) * op.height};
      break;
    }
    case Kind::kBinaryConv: {
      const Value& in = value(op.in);
      const auto row = static_cast<int64_t>(in.row_bytes()), pixel = static_cast<int64_t>(in.pixel_bytes());
      const uint8_t* first = context.arena.data() + in.origin() - op.padding[0] * row - op.padding[1] * pixel;
      if (op.groups > 1) {
        constexpr int kUnit = sizeof(uint32_t);
        const int per_input = in.channels / op.groups;
        step = {GroupedBinaryConv{reinterpret_cast<const uint32_t*>(first), row / kUnit, pixel / kUnit,
                                  static_cast<int64_t>(in.group_stride()),
                                  reinterpret_cast<const uint32_t*>(op.packed_weight.data()), kh, kw,
                                  static_cast<int>(in.group_units()), op.channels / op.groups, sy, sx, op.height,
                                  op.width, op.blocks(), static_cast<float>(int64_t{kh} * kw * per_input), tail},
                int64_t{op.blocks()} * op.height};
        break;
      }
      const int steps = kw * in.words() * (kWordBits / kernels_->step_bits);
      const auto fan_in = static_cast<float>(int64_t{kh} * kw * in.channels);
      step = {BinaryConv{first, row, pixel, op.packed_weight.data(), kh, steps, sy, sx, op.height, op.width,
                         op.blocks(), fan_in, tail},
              groups_of(op.blocks(), op.binary->blocks) * op.height};
      step.binary = op.binary;
      break;
    }
    case Kind::kThreshold:
      step = {Step::Threshold{float_view(context, op.in).base, op.scale.data(), op.offset.data(), op.flip.data(),
                              tail.out.base, op.channels},
              1};
      break;
  }
  context.steps.push_back(std::move(step));
  if (op.mean != kNone) {
    const float* sums = float_view(context, op.row_sums).base;
    context.steps.push_back(
        {Step::Mean{sums, float_view(context, op.mean).base, op.blocks() * kBlock, op.height, op.width}, 1});
  }
  for (int id : {op.out, op.mean, op.bits, op.quantized}) {
    if (id != kNone) bind_border(context, value(id), op);
  }
}

// What follows when a value is written: its border, and its bits as the kernels read them.
void Engine::bind_border(Context& context, const Value& v, const Op& op) const {
  uint8_t* const base = context.arena.data() + v.offset;
  if (v.border_y || v.border_x) {
    auto pattern = std::make_unique<Aligned<uint8_t>>(v.row_bytes());
    for (size_t at = 0; v.form == Form::kBits && at < v.row_bytes(); at += v.pixel_bytes()) {
      std::memcpy(pattern->data() + at, op.valid.data(), v.pixel_bytes());
    }
    if (v.form == Form::kQuantized && kernels_->byte_units) std::memset(pattern->data(), 128, pattern->size());
    context.steps.push_back(
        {Step::Border{base, v.row_bytes(), v.pixel_bytes(), v.height, v.width, v.border_y, v.border_x, pattern->data()},
         1});
    context.patterns.push_back(std::move(pattern));
  }
  for (int id : v.twins) {
    const Value& twin = value(id);
    uint8_t* const to = context.arena.data() + twin.offset;
    if (twin.form == Form::kExpanded) {
      context.steps.push_back({Step::Expand{base, to, static_cast<int64_t>(v.bytes())}, 1});
    } else {
      const auto pixels = static_cast<int64_t>(v.bytes() / v.pixel_bytes());
      context.steps.push_back({Step::Regroup{reinterpret_cast<const uint64_t*>(base), reinterpret_cast<uint32_t*>(to),
                                             pixels, v.words(), twin.groups, v.channels / twin.groups},
                               1});
    }
  }
}

std::unique_ptr<Engine::Context> Engine::new_context() const {
  auto context = std::make_unique<Context>(arena_bytes_);
  for (int i = 0; i < static_cast<int>(ops_.size()); ++i) {
    const size_t first = context->steps.size();
    bind(*context, *ops_[i]);
    for (size_t s = first; s < context->steps.size(); ++s) context->steps[s].op = i;
  }
  for (const Step& step : context->steps) {
    const int index = static_cast<int>(context->first_of_step.size());
    context->first_of_step.push_back(static_cast<int>(context->step_of_chunk.size()));
    context->step_of_chunk.insert(context->step_of_chunk.end(), std::min<int64_t>(step.tasks, pool_.threads()), index);
  }
  return context;
}

std::unique_ptr<Engine::Context> Engine::take_context() {
  {
    const std::lock_guard<std::mutex> lock(contexts_mutex_);
    if (!contexts_.empty()) {
      auto context = std::move(contexts_.back());
      contexts_.pop_back();
      return context;
    }
  }
  return new_context();
}

void Engine::give_back(std::unique_ptr<Context> context) {
  const std::lock_guard<std::mutex> lock(contexts_mutex_);
  contexts_.push_back(std::move(context));
}

namespace {

// t = (-offset - e) / scale, constant where scale is 0, the next float above where the compare is flipped.
template <typename Threshold>
void solve_thresholds(const Threshold& op) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int c = 0; c < op.channels; ++c) {
    float t = (-op.offset[c] - op.in[c]) / op.scale[c];
    if (op.scale[c] == 0.0f) t = op.offset[c] + op.in[c] >= 0.0f ? -kInfinity : kInfinity;
    const bool flip = op.flip[c / kBlock] >> (c % kBlock) & 1;
    op.out[c] = flip ? std::nextafter(t, kInfinity) : t;
  }
}

template <typename Mean>
void average_rows(const Mean& op) {
  const float count = static_cast<float>(op.height * op.width);
  std::fill(op.out, op.out + op.channels, 0.0f);
  for (int y = 0; y < op.height; ++y) {
    for (int c = 0; c < op.channels; ++c) op.out[c] += op.row_sums[int64_t{y} * op.channels + c];
  }
  for (int c = 0; c < op.channels; ++c) op.out[c] /= count;
}

template <typename Border>
void fill_border(const Border& op) {
  const size_t side = op.border_x * op.pixel_bytes;
  for (int y = 0; y < op.height + 2 * op.border_y; ++y) {
    uint8_t* const row = op.base + y * op.row_bytes;
    if (y < op.border_y || y >= op.border_y + op.height) {
      std::memcpy(row, op.pattern, op.row_bytes);
    } else {
      std::memcpy(row, op.pattern, side);
      std::memcpy(row + op.row_bytes - side, op.pattern, side);
    }
  }
}

template <typename Regroup>
void regroup(const Regroup& op) {
  const int unit_count = (op.per_group + 31) / 32;
  const auto stride = static_cast<int64_t>(round_up(op.groups, kBlock));
  const uint64_t* words = op.bits;
  uint32_t* units = op.units;
  for (int64_t pixel = 0; pixel < op.pixels; ++pixel, words += op.words) {
    for (int u = 0; u < unit_count; ++u, units += stride) {
      const int size = std::min(32, op.per_group - 32 * u);
      const uint64_t mask = (uint64_t{1} << size) - 1;
      for (int group = 0; group < op.groups; ++group) {
        const int bit = group * op.per_group + 32 * u, shift = bit % kWordBits;
        uint64_t unit;
        std::memcpy(&unit, words + bit / kWordBits, sizeof unit);
        unit >>= shift;
        if (shift + size > kWordBits) {
          uint64_t next;
          std::memcpy(&next, words + bit / kWordBits + 1, sizeof next);
          unit |= next << (kWordBits - shift);
        }
        units[group] = static_cast<uint32_t>(unit & mask);
      }
    }
  }
}

}  // namespace

bool Engine::run_step(const Step& step, Range tasks, const float* floats, const uint8_t* bytes) const {
  bool finite = true;
  std::visit(
      [&](const auto& work) {
        using Work = std::decay_t<decltype(work)>;
        if constexpr (std::is_same_v<Work, Normalize>) {
          Normalize images = work;
          images.floats = floats;
          images.bytes = bytes;
          finite = kernels_->normalize(images, tasks);
        } else if constexpr (std::is_same_v<Work, BinaryConv>) {
          step.binary->run(work, tasks);
        } else if constexpr (std::is_same_v<Work, Int8Conv>) {
          kernels_->int8_conv(work, tasks);
        } else if constexpr (std::is_same_v<Work, Conv>) {
          const Op& op = *ops_[step.op];
          const auto grouped = op.is_depthwise() ? kernels_->depthwise_conv : kernels_->grouped_conv;
          (op.shares_inputs() ? kernels_->conv : grouped)(work, tasks);
        } else if constexpr (std::is_same_v<Work, Elementwise>) {
          kernels_->elementwise(work, tasks);
        } else if constexpr (std::is_same_v<Work, Concat>) {
          kernels_->concat(work, tasks);
        } else if constexpr (std::is_same_v<Work, Flatten>) {
          kernels_->flatten(work, tasks);
        } else if constexpr (std::is_same_v<Work, Pool2d>) {
          kernels_->pool(work, tasks);
        } else if constexpr (std::is_same_v<Work, Step::Threshold>) {
          solve_thresholds(work);
        } else if constexpr (std::is_same_v<Work, Step::Mean>) {
          average_rows(work);
        } else if constexpr (std::is_same_v<Work, Step::Expand>) {
          kernels_->expand_bits(work.bits, work.expanded, work.bytes);
        } else if constexpr (std::is_same_v<Work, Step::Regroup>) {
          regroup(work);
        } else if constexpr (std::is_same_v<Work, GroupedBinaryConv>) {
          kernels_->grouped_binary_conv(work, tasks);
        } else {
          fill_border(work);
        }
      },
      step.work);
  return finite;
}

bool Engine::run_image(Context& context, const float* floats, const uint8_t* bytes, float* logits) const {
  bool finite = true;
  for (const Step& step : context.steps) finite &= run_step(step, {0, step.tasks}, floats, bytes);
  read_logits(context, logits);
  return finite;
}

bool Engine::run_image_together(Context& context, const float* floats, const uint8_t* bytes, float* logits) {
  const int threads = pool_.threads();
  std::atomic<bool> finite{true};
  Dealer dealer(context.step_of_chunk, context.first_of_step);
  pool_.run([&](int) {
    for (int chunk = dealer.take(); chunk >= 0; chunk = dealer.take()) {
      const int s = context.step_of_chunk[chunk];
      const Step& step = context.steps[s];
      const int64_t chunks = std::min<int64_t>(step.tasks, threads);
      const int64_t i = chunk - context.first_of_step[s];
      const Range tasks{step.tasks * i / chunks, step.tasks * (i + 1) / chunks};
      if (!run_step(step, tasks, floats, bytes)) finite.store(false);
      dealer.finish();
    }
  });
  read_logits(context, logits);
  return finite.load();
}

void Engine::read_logits(const Context& context, float* logits) const {
  const Value& v = value(output_);
  std::memcpy(logits, context.arena.data() + v.origin(), v.channels * sizeof(float));
}

bool Engine::run(const float* floats, const uint8_t* bytes, int64_t count, float* logits) {
  const Op& input = *ops_.front();
  const int64_t size = int64_t{input.channels} * input.height * input.width;
  const int64_t classes = value(output_).channels;
  std::unique_lock<std::mutex> pool_lock(pool_mutex_, std::try_to_lock);
  const int threads = pool_lock.owns_lock() ? pool_.threads() : 1;
  const bool together = count < threads;
  std::vector<std::unique_ptr<Context>> contexts;
  for (int i = 0; i < (together ? 1 : threads); ++i) contexts.push_back(take_context());

  std::atomic<int64_t> next{0};
  std::atomic<bool> finite{true};
  const auto work = [&](int worker) {
    for (int64_t i = next++; i < count; i = next++) {
      const float* f = floats ? floats + i * size : nullptr;
      const uint8_t* b = bytes ? bytes + i * size : nullptr;
      float* const out = logits + i * classes;
      const bool good =
          together ? run_image_together(*contexts[0], f, b, out) : run_image(*contexts[worker], f, b, out);
      if (!good) finite.store(false);
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

std::vector<Engine::OpTime> Engine::profile(const float* image, int rounds) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [&](const Step& step) {
    const auto start = Clock::now();
    run_step(step, {0, step.tasks}, image, nullptr);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  auto context = take_context();
  const std::vector<double> zeros(rounds);
  std::vector<std::array<std::vector<double>, 3>> times(ops_.size(), {zeros, zeros, zeros});
  for (int round = 0; round < rounds; ++round) {
    for (const Step& step : context->steps) {
      auto& [all, sums, tail] = times[step.op];
      all[round] += seconds(step);
      if (const auto* work = std::get_if<BinaryConv>(&step.work)) {
        Step part = step;
        auto& changed = std::get<BinaryConv>(part.work);
        changed.tail = {};
        sums[round] = seconds(part);
        changed.tail = work->tail;
        changed.kh = 0;
        tail[round] = seconds(part);
      }
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
    const int64_t macs = kernels_->binary_limit(kRounds);
    best = std::max(best, static_cast<double>(macs) / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace evenbit
