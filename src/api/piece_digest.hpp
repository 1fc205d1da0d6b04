#pragma once

#include "core/checksum.hpp"
#include "cpu/checksum.hpp"

#include <algorithm>
#include <cstdint>

namespace stillbit {

/// The digest of a piece of a tensor, taken on the way of whoever goes over the piece: what was just read is still in
/// the first cache, while a whole piece fills most of the second one.
class PieceDigest {
 public:
  PieceDigest(Bytes data, std::uint64_t piece)
      : data_(data),
        next_(std::min<std::uint64_t>(data.size(), piece * kChecksumPieceBytes)),
        end_(std::min<std::uint64_t>(data.size(), next_ + kChecksumPieceBytes)) {}

  /// Adds what comes before `offset` in the tensor, once it is worth a call.
  void reach(std::uint64_t offset) noexcept {
    if (offset >= next_ + kWorthwhileBytes) add_up_to(offset);
  }

  /// Of the whole piece.
  [[nodiscard]] std::uint64_t value() noexcept {
    add_up_to(end_);
    return digest_.value();
  }

 private:
  static constexpr std::uint64_t kWorthwhileBytes = 2048;

  void add_up_to(std::uint64_t offset) noexcept {
    const std::uint64_t end = std::min(offset, end_);
    if (end <= next_) return;
    digest_.add(data_.subspan(next_, end - next_));
    next_ = end;
  }

  Bytes data_;
  std::uint64_t next_;  ///< what comes before was added
  std::uint64_t end_;
  cpu::RunningDigest digest_;
};

}  // namespace stillbit
