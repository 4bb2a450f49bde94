#include "evb_file.h"

#include <cstring>
#include <map>

#include "evb/sha256.h"

namespace evenbit {
namespace {

using Json = nlohmann::ordered_json;

// What the digest is taken over besides the plan: name, type and shape of a tensor, as docs/file-format.md has it.
std::string tensor_head(const std::string& name, const Json& entry) {
  std::string shape;
  for (const Json& size : entry.at("shape")) shape += (shape.empty() ? "" : ", ") + size.dump();
  if (entry.at("shape").size() == 1) shape += ",";
  const std::string zero(1, '\0');
  return zero + name + zero + entry.at("dtype").get<std::string>() + zero + "(" + shape + ")" + zero;
}

}  // namespace

std::optional<EvbFile> EvbFile::parse(const uint8_t* data, size_t size) {
  uint64_t length = 0;
  if (size < sizeof length) return std::nullopt;
  std::memcpy(&length, data, sizeof length);
  if (length > size - sizeof length) return std::nullopt;
  const uint8_t *const begin = data + sizeof length, *const end = begin + length;
  try {
    EvbFile file;
    file.header = Json::parse(begin, end);
    file.content = Json::parse(file.header.at("__metadata__").at("evenbit").get<std::string>());
    file.header.erase("__metadata__");
    if (!file.content.is_object()) return std::nullopt;
    file.data.assign(end, data + size);
    return file;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::vector<uint8_t> EvbFile::signed_bytes() const {
  Sha256 sha;
  const auto replace = Json::error_handler_t::replace;
  const std::string plan = content.value("plan", Json()).dump(-1, ' ', true, replace);
  sha.update(plan.data(), plan.size());
  std::map<std::string, Json> sorted;
  for (const auto& [name, entry] : header.items()) sorted.emplace(name, entry);
  for (const auto& [name, entry] : sorted) {
    try {
      const std::string head = tensor_head(name, entry);
      const Json &first = entry.at("data_offsets").at(0), &last = entry.at("data_offsets").at(1);
      // The reader refuses such an entry before it looks at the digest.
      if (!first.is_number_unsigned() || !last.is_number_unsigned()) continue;
      const size_t begin = first, end = last;
      if (begin > end || end > data.size()) continue;
      sha.update(head.data(), head.size());
      sha.update(data.data() + begin, end - begin);
    } catch (const Json::exception&) {  // so is an entry that is malformed
    }
  }
  Json inner = content;
  inner["sha256"] = sha.finish();
  Json outer = header;
  outer["__metadata__"] = {{"evenbit", inner.dump(-1, ' ', true, replace)}};
  const std::string text = outer.dump(-1, ' ', true, replace);
  const uint64_t length = text.size();
  std::vector<uint8_t> bytes(sizeof length);
  std::memcpy(bytes.data(), &length, sizeof length);
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

}  // namespace evenbit
