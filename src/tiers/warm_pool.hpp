#pragma once

#include "codecs/codec.hpp"
#include "core/bytes.hpp"
#include "tiers/frequency_sketch.hpp"
#include "tiers/row_map.hpp"
#include "tiers/slot_memory.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace stillbit::tiers {

class FastTier;

/// Compressed rows of a tensor that cannot be changed itself, in memory of a fixed size: rows that are looked up often,
/// and those that were updated, which stay. Memory is cut into units as long as nearly every stored row; a longer one
/// takes several, in a chain. Functions that are not const need the table's lock for themselves, others share it.
class WarmPool {
 public:
  static constexpr std::uint32_t kNone = RowMap::kNone;

  [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t num_units, std::uint64_t unit_bytes,
                                               std::uint64_t row_bytes) noexcept;

  WarmPool(std::shared_ptr<const RowCodec> codec, std::uint64_t num_units, std::uint64_t unit_bytes,
           std::uint64_t row_bytes);

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_for(num_units(), unit_bytes_, row_bytes_); }
  [[nodiscard]] std::uint64_t num_units() const noexcept { return next_.size(); }
  [[nodiscard]] std::uint64_t unit_bytes() const noexcept { return unit_bytes_; }
  [[nodiscard]] std::uint64_t num_rows() const noexcept { return num_rows_; }
  [[nodiscard]] std::uint64_t num_updated() const noexcept { return num_updated_; }
  [[nodiscard]] bool has_room() const noexcept { return num_free_ > 0; }
  [[nodiscard]] FrequencySketch& sketch() const noexcept { return sketch_; }

  /// The unit where a row begins; none if it is not there.
  [[nodiscard]] std::uint32_t find(std::uint32_t row, std::uint64_t hash) const noexcept {
    return map_.find(row, hash);
  }

  /// Whether it is worth offering a row that was just counted.
  [[nodiscard]] bool may_take(std::uint32_t row, std::uint64_t hash) const noexcept;

  /// Expands a row that is there. `scratch` is for rows in several units. False when it is malformed, which nothing but
  /// a fault of memory makes it.
  [[nodiscard]] bool expand(std::uint32_t unit, std::byte* dst, std::vector<std::byte>& scratch) const;
  /// Bytes that are stored for it.
  [[nodiscard]] std::uint64_t stored_bytes(std::uint32_t unit) const noexcept { return sizes_[unit]; }

  /// Takes a row in as the policy will have it, which counts rows that the fast tier has as not needed here. Returns
  /// whether it is there now; adds the rows that left to `num_evicted`.
  bool offer(std::uint32_t row, const std::byte* src, const FastTier* fast, std::uint64_t& num_evicted);
  /// The same, without asking the policy: as long as there is room.
  bool place(std::uint32_t row, const std::byte* src);

  /// Units that updated rows would take once these rows, each there once, are among them. `sizes` are their stored
  /// sizes.
  [[nodiscard]] std::uint64_t units_with(const std::vector<std::uint32_t>& rows,
                                         const std::vector<std::uint32_t>& sizes) const noexcept;
  /// The stored size of a row.
  [[nodiscard]] std::uint32_t measure(const std::byte* src) const;
  /// Stores updated rows, which lie at the places named, whatever else has to leave. Precondition: units_with is at
  /// most num_units.
  void update(const std::vector<std::uint32_t>& rows, const std::vector<const std::byte*>& sources,
              std::uint64_t& num_evicted) noexcept;

  /// Forgets rows that were not updated.
  void clear() noexcept;

 private:
  enum class Kind : std::uint8_t {
    kOther,    ///< free, or not the first of a row
    kCopy,     ///< the first of a row as the tensor has it
    kUpdated,  ///< the first of a row that was updated
  };

  [[nodiscard]] std::uint64_t units_of(std::uint64_t size) const noexcept;
  [[nodiscard]] std::uint32_t choose_victim(const FastTier* fast, unsigned& least) noexcept;
  void remove(std::uint32_t unit) noexcept;
  /// Precondition: the row is not there, and there is room for its `size` bytes in `encoded_`.
  void store_encoded(std::uint32_t row, std::uint64_t size, Kind kind) noexcept;

  std::shared_ptr<const RowCodec> codec_;
  std::uint64_t unit_bytes_;
  std::uint64_t row_bytes_;
  SlotMemory memory_;
  std::vector<std::uint32_t> next_;   ///< of a unit: the one behind it in its row, or in the chain of free ones
  std::vector<std::uint32_t> rows_;   ///< of the first unit of a row: the row,
  std::vector<std::uint32_t> sizes_;  ///< the bytes that are stored for it,
  std::vector<Kind> kinds_;           ///< and why it is there
  RowMap map_;
  mutable FrequencySketch sketch_;
  std::vector<std::byte> encoded_;
  std::uint32_t first_free_ = kNone;
  std::uint64_t num_free_ = 0;
  std::uint64_t num_rows_ = 0;
  std::uint64_t num_updated_ = 0;
  std::uint64_t num_updated_units_ = 0;
  std::uint64_t hand_ = 0;
};

}  // namespace stillbit::tiers
