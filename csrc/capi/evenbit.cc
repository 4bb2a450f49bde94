// The C API: C++ exceptions become error texts and statuses here, and nothing else happens.
#include "evenbit.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "evb/load.h"

struct evenbit_network {
  evenbit::Network loaded;
};

namespace {

constexpr int kMaxThreads = 256;

std::string choose_isa(const char* isa) {
  if (!isa) isa = std::getenv("EVENBIT_ISA");
  if (!isa || !*isa) return evenbit_isa(0);
  std::string known;
  for (int i = 0; evenbit_isa(i); ++i) {
    if (std::strcmp(evenbit_isa(i), isa) == 0) return isa;
    known += (i ? ", " : "") + std::string(evenbit_isa(i));
  }
  throw evenbit::PlanError("unknown instruction set '" + std::string(isa) + "'; this machine has " + known);
}

// In one line: what a file's names hold is up to the file.
void tell(const char* reason, char* error, size_t size) {
  if (size == 0) return;
  const size_t length = std::min(std::strlen(reason), size - 1);
  std::transform(reason, reason + length, error, [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code < 0x20 || code == 0x7f ? '?' : c;
  });
  error[length] = '\0';
}

std::unique_ptr<evenbit_network> load(const void* data, size_t size, int threads, const char* isa) {
  evenbit::require(data != nullptr, "no data is given");
  evenbit::require(
      threads >= 1 && threads <= kMaxThreads,
      "threads should be from 1 to " + std::to_string(kMaxThreads) + ", but is " + std::to_string(threads));
  const auto* const bytes = static_cast<const uint8_t*>(data);
  return std::make_unique<evenbit_network>(
      evenbit_network{evenbit::load_network(bytes, size, choose_isa(isa), threads, "")});
}

evenbit_status run(evenbit_network* network, const float* floats, const uint8_t* bytes, size_t count,
                   float* logits) noexcept {
  if (!network) return EVENBIT_BAD_ARGUMENT;
  if (count == 0) return EVENBIT_OK;
  if ((!floats && !bytes) || !logits) return EVENBIT_BAD_ARGUMENT;
  try {
    const bool finite = network->loaded.engine->run(floats, bytes, static_cast<int64_t>(count), logits);
    return finite ? EVENBIT_OK : EVENBIT_NOT_FINITE;
  } catch (const std::bad_alloc&) {
    return EVENBIT_OUT_OF_MEMORY;
  }
}

}  // namespace

evenbit_network* evenbit_load(const void* data, size_t size, int threads, const char* isa, char* error,
                              size_t error_size) {
  try {
    return load(data, size, threads, isa).release();
  } catch (const std::bad_alloc&) {
    tell("there is not enough memory for the network", error, error_size);
  } catch (const std::system_error& problem) {
    tell((std::string("threads cannot be started: ") + problem.what()).c_str(), error, error_size);
  } catch (const std::exception& problem) {
    tell(problem.what(), error, error_size);
  }
  return nullptr;
}

void evenbit_free(evenbit_network* network) { delete network; }

int evenbit_channels(const evenbit_network* network) { return network->loaded.engine->images().channels; }
int evenbit_height(const evenbit_network* network) { return network->loaded.engine->images().height; }
int evenbit_width(const evenbit_network* network) { return network->loaded.engine->images().width; }
int evenbit_classes(const evenbit_network* network) { return network->loaded.engine->classes(); }
int evenbit_output_height(const evenbit_network* network) { return network->loaded.engine->output().height; }
int evenbit_output_width(const evenbit_network* network) { return network->loaded.engine->output().width; }

const char* evenbit_class_name(const evenbit_network* network, int index) {
  return index >= 0 && index < evenbit_classes(network) ? network->loaded.classes[index].c_str() : nullptr;
}

evenbit_status evenbit_run_uint8(evenbit_network* network, const uint8_t* images, size_t count, float* logits) {
  return run(network, nullptr, images, count, logits);
}

evenbit_status evenbit_run_float(evenbit_network* network, const float* images, size_t count, float* logits) {
  return run(network, images, nullptr, count, logits);
}

int evenbit_bit_maps(const evenbit_network* network) {
  return static_cast<int>(network->loaded.engine->bit_maps().size());
}

void evenbit_bit_map_size(const evenbit_network* network, int index, int* channels, int* height, int* width) {
  const std::vector<evenbit::Shape>& maps = network->loaded.engine->bit_maps();
  const bool known = index >= 0 && index < static_cast<int>(maps.size());
  const evenbit::Shape shape = known ? maps[index] : evenbit::Shape{true, 0, 0, 0};
  *channels = shape.channels;
  *height = shape.height;
  *width = shape.width;
}

evenbit_status evenbit_read_bits(evenbit_network* network, const uint8_t* image, int index, uint8_t* bits) {
  if (!network || !image || !bits || index < 0 || index >= evenbit_bit_maps(network)) return EVENBIT_BAD_ARGUMENT;
  try {
    network->loaded.engine->read_bits(image, static_cast<size_t>(index), bits);
    return EVENBIT_OK;
  } catch (const std::bad_alloc&) {
    return EVENBIT_OUT_OF_MEMORY;
  }
}

const char* evenbit_isa(int index) {
  for (const evenbit::Kernels* const* k = evenbit::all_kernels(); *k; ++k) {
    if ((*k)->supported() && index-- == 0) return (*k)->name;
  }
  return nullptr;
}
