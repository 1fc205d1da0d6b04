#pragma once

#include "codecs/codec.hpp"
#include "format/payload.hpp"

#include <stillbit/analysis.hpp>

namespace stillbit::analysis {

/// Adds up what the bits of stored tiles are for.
class StoredBits {
 public:
  explicit StoredBits(const format::PayloadHeader& header) : header_(header) {}

  /// Adds a stored tile; of one that fills its slot only in part the bytes in the slot before the tag.
  /// Returns the bits that each word of the codec's view took; empty where it is raw.
  const std::vector<float>& add(const RowCodec& codec, const StoredRow& row);

  /// Of the whole payload: tiles as those that were added, scaled to all. Adds up to 8 × its bytes.
  [[nodiscard]] std::array<std::uint64_t, kNumBitUses> result() const;

 private:
  [[nodiscard]] std::array<std::uint64_t, kNumBitUses> in_rows() const;

  const format::PayloadHeader& header_;
  RowAccount account_;
  std::uint64_t num_tiles_ = 0;
  std::uint64_t raw_bits_ = 0;
  std::uint64_t slot_bits_ = 0;
  std::uint64_t padding_bits_ = 0;
};

}  // namespace stillbit::analysis
