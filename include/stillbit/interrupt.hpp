#pragma once

namespace stillbit {

/// While it lives, calls of this library from this thread ask `check` about twenty times a second, between two pieces
/// of their work and on this thread. What `check` throws ends the call and comes out of it, once its other threads have
/// stopped: files that were being written do not appear, tensors stay as they were, and only memory that was handed in
/// to be filled is left half filled. `update`, `append` and `compact` are not interrupted.
///
/// An exception from a `Progress` does the same, from any thread.
class InterruptScope {
 public:
  using Check = void (*)();

  explicit InterruptScope(Check check) noexcept;
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  Check outer_;
};

}  // namespace stillbit
