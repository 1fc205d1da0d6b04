#include "published/rows.hpp"

#include <string>

namespace stillbit::published {
namespace {

Fault wrong_size(const char* what, std::uint64_t found, std::uint64_t wanted) {
  return invalid(std::string(what) + " has " + std::to_string(found) + " bytes, not " + std::to_string(wanted));
}

Result<void> check_cluster(const Masks& masks, std::uint64_t row, std::uint64_t num_masks) {
  if (static_cast<std::uint64_t>(std::int64_t{masks.clusters[row]}) < num_masks) return {};
  return Fault{ErrorCode::kOutOfRange, "cluster " + std::to_string(masks.clusters[row]) + " of row " +
                                           std::to_string(row) + " is out of range: there are " +
                                           std::to_string(num_masks) + " masks"};
}

}  // namespace

template <class Byte>
Result<Layout> checked_layout(const BasicTable<Byte>& table) {
  const unsigned width = table.word_bytes;
  if (width != 1 && width != 2 && width != 4 && width != 8) {
    return invalid("words have 1, 2, 4 or 8 bytes, not " + std::to_string(width));
  }
  const auto row_bytes = checked_mul(table.row_words, width);
  // Sizes in bits, and signed offsets in bytes, are to fit 64 bits.
  if (!row_bytes || *row_bytes > std::uint64_t{1} << 56) return invalid("rows are too long");
  if (const auto total = checked_mul(table.num_rows, *row_bytes); !total || *total > std::uint64_t{1} << 62) {
    return invalid("the table is too large");
  }
  return Layout{*row_bytes, width};
}

template <class Byte>
Result<void> check_bytes(const BasicTable<Byte>& table, const Layout& layout) {
  const std::uint64_t wanted = table.num_rows * layout.row_bytes;
  if (table.bytes.size() != wanted) return wrong_size("the table", table.bytes.size(), wanted);
  return {};
}

Result<void> check_masks(const Masks& masks, const Layout& layout, std::uint64_t num_rows, const Index& index) {
  const std::uint64_t row_bytes = layout.row_bytes;
  if (masks.mask.size() != masks.value.size()) return wrong_size("value", masks.value.size(), masks.mask.size());
  const bool clustered = !masks.clusters.empty();
  if (clustered && masks.clusters.size() != num_rows) {
    return invalid("there are clusters for " + std::to_string(masks.clusters.size()) + " rows, not " +
                   std::to_string(num_rows));
  }
  const std::uint64_t num_masks = row_bytes == 0 ? 0 : masks.mask.size() / row_bytes;
  if (masks.mask.size() != num_masks * row_bytes || (!clustered && num_rows > 0 && row_bytes > 0 && num_masks != 1)) {
    return wrong_size("mask", masks.mask.size(), row_bytes);
  }
  if (index) {
    for (std::size_t i = 0; i < index->size(); ++i) {
      const std::int64_t row = (*index)[i];
      // A negative index becomes a number above any row's.
      if (static_cast<std::uint64_t>(row) >= num_rows) {
        return Fault{ErrorCode::kOutOfRange, "index " + std::to_string(row) + " at position " + std::to_string(i) +
                                                 " is out of range: there are " + std::to_string(num_rows) + " rows"};
      }
      if (clustered && row_bytes > 0) {
        STILLBIT_CHECK(check_cluster(masks, static_cast<std::uint64_t>(row), num_masks));
      }
    }
  } else if (clustered && row_bytes > 0) {
    for (std::uint64_t row = 0; row < num_rows; ++row) STILLBIT_CHECK(check_cluster(masks, row, num_masks));
  }
  return {};
}

template Result<Layout> checked_layout(const Table&);
template Result<Layout> checked_layout(const MutableTable&);
template Result<void> check_bytes(const Table&, const Layout&);
template Result<void> check_bytes(const MutableTable&, const Layout&);

}  // namespace stillbit::published
