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
constexpr int kPolicyPreferred = 1;

}  // namespace

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

NearNode::NearNode(int node) {
  // Memory from another node is slower, and that is all: what fails is left as it is.
  if (node < 0 || static_cast<unsigned long>(node) >= kMaxNodes) return;
  if (::syscall(SYS_get_mempolicy, &policy_, nodes_.data(), kMaxNodes, nullptr, 0UL) != 0) return;
  Nodes near{};
  constexpr unsigned long kWordBits = 8 * sizeof near[0];
  near[static_cast<unsigned long>(node) / kWordBits] = 1UL << static_cast<unsigned long>(node) % kWordBits;
  is_set_ = ::syscall(SYS_set_mempolicy, kPolicyPreferred, near.data(), kMaxNodes) == 0;
}

NearNode::~NearNode() {
  if (is_set_) (void)::syscall(SYS_set_mempolicy, policy_, nodes_.data(), kMaxNodes);
}

}  // namespace stillbit::cuda
