#pragma once

#include "tiers/impl.hpp"

#include <span>
#include <vector>

namespace stillbit::tiers {

/// Looks up rows of one table piece by piece, on one thread: copies those of the fast tier, expands the others, and
/// lets rows move up. Keeps the memory that this takes from one piece to the next.
class Lookup {
 public:
  enum class Purpose {
    kGather,    ///< counts lookups, and moves rows
    kReadOnly,  ///< neither
  };

  Lookup(TieredTable::Impl& table, Purpose purpose)
      : table_(table),
        is_counting_(purpose == Purpose::kGather),
        is_adaptive_(purpose == Purpose::kGather && table.is_adaptive()) {}

  /// Writes rows to `out`, back to back. Precondition: they exist, and are at most as many as in a piece.
  Result<void> run(std::span<const std::uint32_t> rows, std::byte* out);

  /// Puts rows into the ring of prefetched ones. Precondition: as above, and there is a ring.
  Result<void> prefetch(std::span<const std::uint32_t> rows);

  /// Puts rows where there is room, into the fast tier first. Returns whether there was for all of them. Precondition:
  /// as above, none is there, and the caller has the table's lock for itself.
  Result<bool> place(std::span<const std::uint32_t> rows);

 private:
  /// A row that may move up.
  struct Move {
    std::uint32_t at = 0;       ///< its place among the rows of the piece
    std::uint32_t version = 0;  ///< when it was read
    FastTier::Place place;      ///< in the fast tier; none if it may only move to the pool
  };

  [[nodiscard]] bool is_piece_counted() const noexcept;
  void find_in_fast(std::span<const std::uint32_t> rows, std::byte* out);
  void sort_out(const FastTier& fast);
  void copy_found(const FastTier& fast, std::byte* out);
  void choose_moves(std::span<const std::uint32_t> rows);
  Result<void> find_in_pool(std::span<const std::uint32_t> rows, std::byte* out);
  Result<void> read_base(const Base& base, std::span<const std::uint32_t> rows, std::byte* out);
  Result<void> expand_base(const Base& base, std::span<const std::uint32_t> rows, std::byte* out);
  void make_moves(std::span<const std::uint32_t> rows, const std::byte* out);
  void move(std::uint32_t row, const FastTier::Place& place, const std::byte* src);

  TieredTable::Impl& table_;
  bool is_counting_;
  bool is_adaptive_;
  bool adapts_ = false;  ///< lookups of this piece are counted, and may move rows
  bool is_due_ = false;  ///< counts are to be halved
  std::vector<std::uint64_t> hashes_;
  std::vector<std::uint32_t> slots_;
  std::vector<std::uint32_t> found_;   ///< places of rows that the fast tier has
  std::vector<std::uint32_t> missed_;  ///< places of rows that are not among those the policy keeps in the fast tier
  std::vector<std::uint32_t> left_;    ///< places of rows that are still to be read
  std::vector<Move> moves_;
  std::vector<std::int64_t> index_;
  std::vector<std::byte> expanded_;
  std::vector<std::byte> scratch_;
  std::vector<std::byte> pulled_;
};

}  // namespace stillbit::tiers
