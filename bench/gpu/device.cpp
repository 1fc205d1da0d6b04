#include "bench/gpu/device.hpp"

#include "bench/gpu/memory.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>

namespace stillbit::bench::gpu {
namespace {

using Json = nlohmann::ordered_json;

/// The first line of a file; null where it cannot be read.
Json line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return nullptr;
  return line;
}

std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

}  // namespace

nlohmann::ordered_json describe_device() {
  int device = 0;
  int driver = 0;
  int runtime = 0;
  cudaDeviceProp properties{};
  char bus_id[32] = {};
  require(cudaGetDevice(&device), "cudaGetDevice");
  require(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  require(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  require(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  require(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device), "cudaDeviceGetPCIBusId");
  std::string bus = bus_id;
  std::transform(bus.begin(), bus.end(), bus.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  const std::string link = "/sys/bus/pci/devices/" + bus + "/";
  return {{"name", properties.name},
          {"compute_capability", std::to_string(properties.major) + "." + std::to_string(properties.minor)},
          {"num_sms", properties.multiProcessorCount},
          {"memory_bytes", properties.totalGlobalMem},
          {"l2_bytes", properties.l2CacheSize},
          {"driver", line_of("/proc/driver/nvidia/version")},
          {"cuda_of_driver", version(driver)},
          {"cuda_of_build", version(runtime)},
          {"pcie_speed", line_of(link + "current_link_speed")},
          {"pcie_width", line_of(link + "current_link_width")}};
}

}  // namespace stillbit::bench::gpu
