#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace stillbit {

/// Where a chunk of a tensor begins in its payload; of one alone, what it takes.
struct ChunkPlace {
  std::uint64_t rows_offset = 0;      ///< of its first tile, in the rows section
  std::uint64_t overflow_offset = 0;  ///< of its first tail
};

/// Where chunks begin that several threads encode. They lie one behind the other: a chunk's place is known once all
/// before it are encoded. Threads take chunks in order, so that the one that is waited for is always being worked on.
class ChunkPlaces {
 public:
  /// `places` has one more element than there are chunks: the last one says where everything ends. All are zero.
  explicit ChunkPlaces(std::vector<ChunkPlace>& places) : places_(places), is_encoded_(places.size()) {}

  [[nodiscard]] bool is_known(std::uint64_t chunk) const noexcept { return chunk <= num_encoded_.load(); }

  /// Precondition: it is known.
  [[nodiscard]] const ChunkPlace& operator[](std::uint64_t chunk) const noexcept { return places_[chunk]; }

  /// Notes what a chunk takes, and what that says of the places behind it.
  void add(std::uint64_t chunk, const ChunkPlace& size) {
    const std::lock_guard lock(mutex_);
    places_[chunk + 1] = size;
    is_encoded_[chunk] = true;
    std::uint64_t count = num_encoded_.load();
    for (; is_encoded_[count]; ++count) {
      places_[count + 1].rows_offset += places_[count].rows_offset;
      places_[count + 1].overflow_offset += places_[count].overflow_offset;
    }
    num_encoded_.store(count);
    changed_.notify_all();
  }

  /// Waits until a chunk's place is known. False when it never will be.
  [[nodiscard]] bool wait(std::uint64_t chunk) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_known(chunk) || has_failed_; });
    return is_known(chunk);
  }

  /// Lets those who wait go: a chunk will not be encoded.
  void fail() {
    const std::lock_guard lock(mutex_);
    has_failed_ = true;
    changed_.notify_all();
  }

 private:
  std::vector<ChunkPlace>& places_;
  std::vector<bool> is_encoded_;               ///< the last element stays false, so that counting ends there
  std::atomic<std::uint64_t> num_encoded_{0};  ///< chunks from the first on
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_failed_ = false;
};

}  // namespace stillbit
