// How much of the memory of a card is taken, by whomever.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// Bytes that are taken on a device, and all that it has; 0 of both on the host.
struct DeviceMemory {
  std::int64_t used = 0, total = 0;
};
DeviceMemory device_memory(const std::string& device);

}  // namespace bench
