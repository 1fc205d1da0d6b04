#pragma once

#include "codecs/codec.hpp"
#include "cpu/isa.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace stillbit::testing {

using Row = std::vector<std::byte>;

/// A row of 16-bit words.
Row row_of(std::initializer_list<std::uint16_t> words);

/// A row as a codec stores it; expects that it measures what it writes.
Row encoded(const RowCodec& codec, const Row& row);

/// The rows of a tensor as a codec stores them, each in memory of its own. Neither copied nor moved: `rows` points to
/// it.
struct StoredRows {
  StoredRows(const RowCodec& codec, const Row& data, std::uint64_t row_bytes);

  StoredRows(const StoredRows&) = delete;
  StoredRows& operator=(const StoredRows&) = delete;

  void make_raw(std::size_t row);

  std::vector<Row> raw;
  std::vector<Row> stored;  ///< with slack behind each
  std::vector<StoredRow> rows;
};

/// What a stored row expands to; nothing when it is malformed. The buffers end where they may, for the sanitizer to
/// see. Expects that a warp of a GPU does the same.
std::optional<Row> decoded(const RowCodec& codec, const Row& stored, std::uint64_t row_bytes, bool is_raw = false);

/// The same for several rows, past the caches and to an address that is `misaligned_by` bytes behind a line's begin;
/// expects that nothing beside them is written.
std::optional<std::vector<Row>> decoded_past_caches(const RowCodec& codec, const std::vector<StoredRow>& rows,
                                                    std::uint64_t row_bytes, std::uint64_t misaligned_by);

/// A stream of fields: {bits, width} after {bits, width}.
Row stream_of(std::initializer_list<std::pair<std::uint64_t, unsigned>> fields);

/// The instruction sets that the machine has.
std::vector<cpu::Isa> isas();

/// Stores and expands every row with every instruction set, for which `open` gives the codec; all must agree. Returns
/// the bytes of plan and rows.
std::uint64_t stored_bytes(const RowCodec& codec, const Row& rows, std::uint64_t row_bytes,
                           const std::function<std::unique_ptr<RowCodec>(cpu::Isa)>& open);

}  // namespace stillbit::testing
