// What GPU it is, and how it is attached.

#pragma once

#include <nlohmann/json.hpp>

namespace stillbit::bench::gpu {

/// The current GPU's name, memory, link, driver …; null where something cannot be read.
nlohmann::ordered_json describe_device();

}  // namespace stillbit::bench::gpu
