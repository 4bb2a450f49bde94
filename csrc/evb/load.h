// From the bytes of an .evb file to an engine that runs it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine.h"

namespace evenbit {

struct Network {
  std::vector<std::string> classes;
  std::unique_ptr<Engine> engine;
};

// Reads and checks the file, which is not needed afterwards. `isa` names an instruction set and `tile`, if it is not
// empty, that of all binary convolutions. Throws PlanError if the file is not right, the network is too large, or this
// machine has no such instruction set or tile.
Network load_network(const uint8_t* data, size_t size, const std::string& isa, int threads, const std::string& tile);

}  // namespace evenbit
