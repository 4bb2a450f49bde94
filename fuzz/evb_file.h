// An .evb file taken apart, so that a fuzzer can change what is in it and make its digest fit again. Without that no
// changed file would pass the digest, and the checks behind it would never be reached.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace evenbit {

struct EvbFile {
  nlohmann::ordered_json header;   // of safetensors, without its metadata
  nlohmann::ordered_json content;  // of the metadata: version, sha256, plan
  std::vector<uint8_t> data;       // of the tensors

  // Nothing if the bytes are no such file.
  static std::optional<EvbFile> parse(const uint8_t* data, size_t size);

  // The file with a digest that fits.
  std::vector<uint8_t> signed_bytes() const;
};

}  // namespace evenbit
