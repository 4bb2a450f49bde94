// From the bytes of an .evb file to an engine that runs it.
#pragma once

#include <memory>
#include <string>

#include "engine.h"
#include "evb/plan.h"

namespace evenbit {

// Hands a Plan that check_plan has passed to a new engine. Throws what the engine's constructor does, and
// std::invalid_argument if the network is too large for it.
std::unique_ptr<Engine> load_engine(const Plan& plan, const CheckedShapes& shapes, const std::string& isa, int threads);

}  // namespace evenbit
