// Reading an .evb file: safetensors, with the Plan as JSON in its metadata. See docs/file-format.md.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "evb/plan.h"
#include "evb/sha256.h"
#include "ops/ops.h"

namespace evenbit {
namespace {

using Header = nlohmann::json;
using Json = nlohmann::ordered_json;  // of the plan, whose digest depends on the order of keys

constexpr size_t kMaxHeader = 100'000'000;  // as safetensors has it
constexpr int kMaxDepth = 16;               // of JSON; a Plan's is 6
constexpr int kMaxKeys = 1000;              // of one object of the plan: an ordered object is searched from end to end
constexpr int kVersion = 1;

const char* const kNoFile = "is not an .evb file";

// Refuses what is nested so deeply that code which walks it by recursion would run out of stack, and objects so large
// that they would take forever. Of text that is not JSON, which the parser refuses, it may think anything. (The
// parser's own callback would do, but it goes through all members of an object each time that one of them ends.)
void check_extent(const char* text, const char* end, int max_keys) {
  std::array<int, kMaxDepth + 1> keys{};  // so far, of the object that is open at each depth
  int depth = 0;
  bool quoted = false, escaped = false;
  for (; text < end; ++text) {
    const char c = *text;
    if (escaped) {
      escaped = false;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      escaped = c == '\\';
    } else if (c == '{' || c == '[') {
      require(++depth <= kMaxDepth, kNoFile);
      keys[depth] = 0;
    } else if (c == '}' || c == ']') {
      require(--depth >= 0, kNoFile);
    } else if (c == ':') {
      require(++keys[depth] <= max_keys, kNoFile);
    }
  }
}

template <typename Any>
Any parse_json(const char* begin, const char* end, int max_keys) {
  check_extent(begin, end, max_keys);
  try {
    return Any::parse(begin, end);
  } catch (const typename Any::exception&) {
    throw PlanError(kNoFile);
  }
}

template <typename Any>
const Any& member(const Any& object, const char* key, const std::string& message) {
  require(object.is_object(), message);
  const auto found = object.find(key);
  require(found != object.end(), message);
  return *found;
}

struct Decimal {
  std::string digits;  // d.ddd times
  int exponent;        // 10 to that power
};

// The fewest digits that read back as this number >= 0, of those the closest to it. One number of so many digits is the
// closest; but below a power of two numbers lie twice as dense as above, and where the closest, from below, reads back
// as another number, the next one may not. (std::to_chars does the same, but not every C++ library has it.)
Decimal shortest(double value) {
  for (int count = 1;; ++count) {
    char text[40];
    std::snprintf(text, sizeof text, "%.*e", count - 1, value);  // d.ddde+dd, with the point of the locale
    char* const e = std::strchr(text, 'e');
    const int exponent = std::atoi(e + 1);
    const std::string digits(text, std::remove_if(text, e, [](char c) { return c < '0' || c > '9'; }));
    const std::string next = std::to_string(std::stoull(digits) + 1);
    for (const std::string& candidate : {digits, next}) {
      const std::string whole = candidate + "e" + std::to_string(exponent - (count - 1));
      if (std::strtod(whole.c_str(), nullptr) == value) return {candidate, exponent};
    }
  }
}

// The same text as Python's repr(value). (Those of nlohmann::json have at times more than the fewest digits.)
std::string python_repr(double value) {
  const std::string sign = std::signbit(value) ? "-" : "";
  auto [digits, exponent] = shortest(std::abs(value));
  if (exponent < -4 || exponent >= 16) {
    const std::string power = std::to_string(std::abs(exponent));
    return sign + digits.substr(0, 1) + (digits.size() > 1 ? "." : "") + digits.substr(1) +
           (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;  // digits before the point
  if (digits.size() <= whole) digits.append(whole + 1 - digits.size(), '0');
  return sign + digits.insert(whole, ".");
}

// The same text that Python's json.dumps(value, separators=(",", ":")) gives.
std::string canonical(const Json& value) {
  if (value.is_number_float()) return python_repr(value.get<double>());
  if (!value.is_structured()) return value.dump(-1, ' ', /*ensure_ascii=*/true);
  std::string parts;
  for (const auto& [key, part] : value.items()) {
    if (!parts.empty()) parts += ",";
    if (value.is_object()) parts += canonical(key) + ":";
    parts += canonical(part);
  }
  return value.is_object() ? "{" + parts + "}" : "[" + parts + "]";
}

std::string digest(const Json& plan, const std::map<std::string, Tensor>& tensors) {
  Sha256 sha;
  const std::string text = canonical(plan);
  sha.update(text.data(), text.size());
  for (const auto& [name, tensor] : tensors) {
    std::string shape;  // as Python prints a tuple
    for (const int64_t size : tensor.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
    if (tensor.shape.size() == 1) shape += ",";
    const std::string zero(1, '\0');
    const std::string head = zero + name + zero + info(tensor.type).in_file + zero + "(" + shape + ")" + zero;
    sha.update(head.data(), head.size());
    sha.update(tensor.data, tensor.bytes);
  }
  return sha.finish();
}

template <typename Any>
uint64_t to_size(const Any& value, const std::string& message) {
  require(value.is_number_unsigned(), message);
  const auto size = value.template get<uint64_t>();
  require(size <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), message);
  return size;
}

// One tensor of the header, and where its bytes begin and end.
std::tuple<uint64_t, uint64_t, Tensor> to_tensor(const std::string& name, const Header& entry) {
  const std::string damaged = "is damaged (tensor '" + name + "' has a malformed entry)";
  const Header& dtype = member(entry, "dtype", damaged);
  const Header& shape = member(entry, "shape", damaged);
  const Header& offsets = member(entry, "data_offsets", damaged);
  require(shape.is_array() && offsets.is_array() && offsets.size() == 2 && entry.size() == 3, damaged);
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& t) { return dtype == t.in_file; });
  require(type != std::end(kTypes), "tensor '" + name + "' is neither F32, U64 nor I8");
  Tensor tensor;
  tensor.type = static_cast<Type>(type - std::begin(kTypes));
  uint64_t bytes = type->bytes;
  for (const Header& size : shape) {
    tensor.shape.push_back(static_cast<int64_t>(to_size(size, damaged)));
    require(!__builtin_mul_overflow(bytes, static_cast<uint64_t>(tensor.shape.back()), &bytes), damaged);
  }
  const uint64_t begin = to_size(offsets[0], damaged), end = to_size(offsets[1], damaged);
  require(begin <= end && end - begin == bytes, damaged);
  tensor.bytes = bytes;
  return {begin, end, tensor};
}

// The tensors lie one after the other, without gaps, and fill the file.
std::map<std::string, Tensor> to_tensors(const Header& header, const uint8_t* data, size_t size) {
  std::map<std::string, Tensor> tensors;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    auto [begin, end, tensor] = to_tensor(name, entry);
    require(end <= size, "is truncated: tensor '" + name + "' lies past its end");
    tensor.data = data + begin;
    ranges.emplace_back(begin, end);
    tensors.emplace(name, std::move(tensor));
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t at = 0;
  for (const auto& [begin, end] : ranges) {
    require(begin == at, "is damaged (its tensors leave a gap or overlap)");
    at = end;
  }
  require(at == size, "is damaged (bytes follow its last tensor)");
  return tensors;
}

// Fields of the plan, by type; anything else is refused with the field's name.

[[noreturn]] void refuse(const std::string& key) { throw PlanError("has a wrong value for '" + key + "'"); }

void take(const Json& value, const std::string& key, std::string& to) {
  if (!value.is_string()) refuse(key);
  to = value.get<std::string>();
}

void take(const Json& value, const std::string& key, plan::Name& to) { take(value, key, to.emplace()); }

void take(const Json& value, const std::string& key, int64_t& to) {
  if (!value.is_number_integer()) refuse(key);
  if (value.is_number_unsigned()) {
    to = static_cast<int64_t>(to_size(value, "has a wrong value for '" + key + "'"));
  } else {
    to = value.get<int64_t>();
  }
}

void take(const Json& value, const std::string& key, double& to) {
  if (!value.is_number_float()) refuse(key);
  to = value.get<double>();
}

void take(const Json& value, const std::string& key, std::vector<std::string>& to) {
  if (!value.is_array()) refuse(key);
  for (const Json& item : value) take(item, key, to.emplace_back());
}

void take(const Json& value, const std::string& key, plan::Sizes& to) {
  if (!value.is_array() || value.size() != 2) refuse(key);
  for (size_t i = 0; i < 2; ++i) take(value[i], key, to[i]);
}

void take(const Json& value, const std::string& key, std::optional<plan::Bits>& to);
void take(const Json& value, const std::string& key, plan::Tail& to);

// Reads an object field by field, and refuses fields that nobody asked for.
class Fields {
 public:
  Fields(const Json& object, std::string what) : object_(object), what_(std::move(what)) {}

  template <typename T>
  Fields& required(const char* key, T& to) {
    require(object_.contains(key), "has a malformed plan ('" + what_ + "' lacks '" + key + "')");
    return optional(key, to);
  }

  template <typename T>
  Fields& optional(const char* key, T& to) {
    known_.insert(key);
    if (const auto found = object_.find(key); found != object_.end()) take(*found, key, to);
    return *this;
  }

  void end() const {
    for (const auto& [key, value] : object_.items()) {
      require(known_.count(key) > 0, "has an unknown field '" + key + "' in '" + what_ + "'");
    }
  }

 private:
  const Json& object_;
  const std::string what_;
  std::set<std::string> known_;
};

void take(const Json& value, const std::string& key, std::optional<plan::Bits>& to) {
  if (!value.is_object()) refuse(key);
  Fields fields(value, "Bits");
  to.emplace().take(fields);
  fields.end();
}

void take(const Json& value, const std::string& key, plan::Tail& to) {
  if (!value.is_object()) refuse(key);
  Fields fields(value, "Tail");
  to.take(fields);
  fields.end();
  const auto known = std::begin(plan::kActivations), end = std::end(plan::kActivations);
  if (std::find(known, end, to.activation) == end) refuse("activation");
}

template <typename Op>
std::unique_ptr<plan::Op> read_op(const Json& item, const std::string& kind) {
  auto op = std::make_unique<Op>();
  Fields fields(item, kind);
  std::string again;
  fields.required("op", again);
  op->OpFields::take(fields);
  op->take(fields);
  fields.end();
  return op;
}

std::unique_ptr<plan::Op> to_op(const Json& item) {
  require(item.is_object(), "has a malformed plan (an op is no object)");
  std::string kind;
  Fields(item, "Op").required("op", kind);
#define EVENBIT_READ(name, Op) \
  if (kind == #name) return read_op<plan::Op>(item, kind);
  EVENBIT_OPS(EVENBIT_READ)
#undef EVENBIT_READ
  throw PlanError("has an unknown op '" + kind + "'");
}

Plan to_plan(const Json& head) {
  const char* const malformed = "has a malformed plan";
  Plan plan;
  const Json& input = member(head, "input", malformed);
  require(input.is_array() && input.size() == 3, malformed);
  take(input[0], "input", plan.channels);
  take(input[1], "input", plan.height);
  take(input[2], "input", plan.width);
  const Json& classes = member(head, "classes", malformed);
  const Json& ops = member(head, "ops", malformed);
  const Json& info = member(head, "info", malformed);
  require(classes.is_array() && ops.is_array() && info.is_object(), malformed);
  for (const Json& name : classes) take(name, "classes", plan.classes.emplace_back());
  for (const Json& item : ops) plan.ops.push_back(to_op(item));
  for (const Json& text : info) {
    if (!text.is_string()) refuse("info");
  }
  take(member(head, "output", malformed), "output", plan.output);
  return plan;
}

}  // namespace

Plan read_plan(const uint8_t* data, size_t size) {
  uint64_t length = 0;
  require(size >= sizeof length, kNoFile);
  for (size_t i = 0; i < sizeof length; ++i) length |= uint64_t{data[i]} << 8 * i;
  data += sizeof length, size -= sizeof length;
  require(size > 0 && data[0] == '{' && length > 0, kNoFile);
  require(length <= size, "is truncated: its header should have " + std::to_string(length) + " bytes, but " +
                              std::to_string(size) + " follow");
  require(length <= kMaxHeader, kNoFile);
  const char* const text = reinterpret_cast<const char*>(data);
  const auto header = parse_json<Header>(text, text + length, std::numeric_limits<int>::max());
  const Header& own = member(member(header, "__metadata__", kNoFile), "evenbit", kNoFile);
  require(own.is_string(), kNoFile);
  const auto& inner = own.get_ref<const std::string&>();
  const auto content = parse_json<Json>(inner.data(), inner.data() + inner.size(), kMaxKeys);
  require(content.is_object(), kNoFile);
  const auto version = content.find("version");
  require(version != content.end() && version->is_number_integer() && *version == kVersion,
          "has format version " + (version == content.end() ? "none" : canonical(*version)) +
              "; this evenbit reads version " + std::to_string(kVersion));
  auto tensors = to_tensors(header, data + length, size - length);
  const Json& head = member(content, "plan", "has a malformed plan");
  const auto sha = content.find("sha256");
  require(sha != content.end() && *sha == digest(head, tensors), "is damaged (its digest does not match its contents)");
  Plan plan = to_plan(head);
  plan.tensors = std::move(tensors);
  return plan;
}

}  // namespace evenbit
