#include "cuda/numa.hpp"

#include <cuda_runtime_api.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string>

namespace stillbit::cuda {
namespace {

// From linux/mempolicy.h, which not every system has.
constexpr int kPolicyDefault = 0;
constexpr int kPolicyPreferred = 1;

/// The memory node of the current GPU; −1 where that is not known.
int node_of_current_device() {
  int device = 0;
  char bus_id[32] = {};
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device) != cudaSuccess) {
    (void)cudaGetLastError();
    return -1;
  }
  std::string name = bus_id;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  std::ifstream file("/sys/bus/pci/devices/" + name + "/numa_node");
  int node = -1;
  file >> node;
  return file ? node : -1;
}

bool set_policy(int policy, unsigned long nodes) {
  const unsigned long* const mask = policy == kPolicyDefault ? nullptr : &nodes;
  return ::syscall(SYS_set_mempolicy, policy, mask, policy == kPolicyDefault ? 0UL : 8UL * sizeof nodes) == 0;
}

}  // namespace

NearCurrentDevice::NearCurrentDevice() {
  // Memory from another node is slower, and that is all: what fails is left as it is.
  const int node = node_of_current_device();
  if (node >= 0 && node < 63) is_set_ = set_policy(kPolicyPreferred, 1UL << node);
}

NearCurrentDevice::~NearCurrentDevice() {
  if (is_set_) (void)set_policy(kPolicyDefault, 0);
}

}  // namespace stillbit::cuda
