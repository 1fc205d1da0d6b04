#pragma once

#include <stillbit/options.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace stillbit::cli {

/// A bar on standard error, drawn only when that is a terminal and only for work that takes a while.
/// Ours because no C++ library for it is in Debian.
class ProgressBar {
 public:
  ProgressBar(std::string what, std::uint64_t total_bytes);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// What to call with the bytes that are newly done. Valid as long as the bar.
  [[nodiscard]] Progress callback();

  /// Removes the bar.
  void finish();

 private:
  void add(std::uint64_t num_bytes);
  void draw(std::uint64_t done) const;

  std::string what_;
  std::uint64_t total_bytes_;
  bool is_terminal_;
  std::chrono::steady_clock::time_point start_;
  std::atomic<std::uint64_t> done_{0};
  std::mutex mutex_;  ///< guards what follows
  std::chrono::steady_clock::time_point last_drawn_;
  bool is_drawn_ = false;
};

}  // namespace stillbit::cli
