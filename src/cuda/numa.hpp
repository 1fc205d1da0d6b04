#pragma once

#include <array>

namespace stillbit::cuda {

/// The memory node that the current GPU is attached to; −1 where that is not known.
int node_of_current_device();

/// Memory that this thread takes while this lives comes from a node, as long as that has some left. What the thread's
/// policy was before it is again. Without a node, or where the system does not allow it, nothing changes.
class NearNode {
 public:
  explicit NearNode(int node);
  NearNode(const NearNode&) = delete;
  NearNode& operator=(const NearNode&) = delete;
  ~NearNode();

 private:
  /// As many nodes as Linux can be built for.
  static constexpr unsigned long kMaxNodes = 1024;
  using Nodes = std::array<unsigned long, kMaxNodes / (8 * sizeof(unsigned long))>;

  bool is_set_ = false;
  int policy_ = 0;
  Nodes nodes_{};
};

}  // namespace stillbit::cuda
