#pragma once

namespace stillbit::cuda {

/// Memory that this thread takes while this lives comes from the memory node that the current GPU is attached to, where
/// the machine has several and the node has some left.
class NearCurrentDevice {
 public:
  NearCurrentDevice();
  NearCurrentDevice(const NearCurrentDevice&) = delete;
  NearCurrentDevice& operator=(const NearCurrentDevice&) = delete;
  ~NearCurrentDevice();

 private:
  bool is_set_ = false;
};

}  // namespace stillbit::cuda
