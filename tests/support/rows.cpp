#include "tests/support/rows.hpp"

#include "core/bits.hpp"
#include "tests/support/host_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace stillbit::testing {

Row row_of(std::initializer_list<std::uint16_t> words) {
  Row row(2 * words.size());
  std::memcpy(row.data(), words.begin(), row.size());
  return row;
}

Row encoded(const RowCodec& codec, const Row& row) {
  Row stored(row.size() + RowCodec::kSlack);
  const std::uint64_t size = codec.encode(row.data(), stored.data());
  std::uint32_t measured = 0;
  codec.measure(row.data(), 1, &measured);
  EXPECT_EQ(measured, size);
  stored.resize(size);
  return stored;
}

StoredRows::StoredRows(const RowCodec& codec, const Row& data, std::uint64_t row_bytes) {
  for (auto row = data.begin(); row < data.end(); row += static_cast<std::ptrdiff_t>(row_bytes)) {
    raw.emplace_back(row, row + static_cast<std::ptrdiff_t>(row_bytes));
    stored.push_back(encoded(codec, raw.back()));
    const std::uint64_t num_bytes = stored.back().size();
    stored.back().resize(num_bytes + RowCodec::kSlack);
    rows.push_back({stored.back().data(), num_bytes, num_bytes == row_bytes});
  }
}

void StoredRows::make_raw(std::size_t row) {
  stored[row] = raw[row];
  stored[row].resize(raw[row].size() + RowCodec::kSlack);
  rows[row] = {stored[row].data(), raw[row].size(), true};
}

std::optional<Row> decoded(const RowCodec& codec, const Row& stored, std::uint64_t row_bytes, bool is_raw) {
  const auto bytes = std::make_unique<std::byte[]>(stored.size() + RowCodec::kSlack);
  std::copy(stored.begin(), stored.end(), bytes.get());
  std::fill_n(bytes.get() + stored.size(), RowCodec::kSlack, std::byte{0xFF});
  const auto row = std::make_unique<std::byte[]>(row_bytes);
  const StoredRow found{bytes.get(), stored.size(), is_raw};
  std::optional<Row> expanded;
  if (codec.decode(&found, 1, row.get()) == 1) expanded = Row(row.get(), row.get() + row_bytes);
  if (!is_raw) {
    EXPECT_EQ(expanded_by_warp(codec, stored, row_bytes), expanded);
  }
  return expanded;
}

std::optional<std::vector<Row>> decoded_past_caches(const RowCodec& codec, const std::vector<StoredRow>& rows,
                                                    std::uint64_t row_bytes, std::uint64_t misaligned_by) {
  constexpr std::uint64_t kLineBytes = 64;
  constexpr std::byte kGuard{0xA5};
  const std::uint64_t num_bytes = rows.size() * row_bytes;
  Row memory(num_bytes + 4 * kLineBytes, kGuard);
  const std::uint64_t to_line = kLineBytes - reinterpret_cast<std::uintptr_t>(memory.data()) % kLineBytes;
  const std::uint64_t begin = to_line + kLineBytes + misaligned_by;
  if (codec.decode_past_caches(rows.data(), rows.size(), memory.data() + begin) != rows.size()) return std::nullopt;
  for (std::uint64_t i = 0; i < memory.size(); ++i) {
    if (i >= begin && i < begin + num_bytes) continue;
    EXPECT_EQ(memory[i], kGuard) << "byte " << i << " of " << begin << " to " << begin + num_bytes;
  }
  std::vector<Row> expanded;
  for (std::uint64_t i = 0; i < rows.size(); ++i) {
    const auto row = memory.begin() + static_cast<std::ptrdiff_t>(begin + i * row_bytes);
    expanded.emplace_back(row, row + static_cast<std::ptrdiff_t>(row_bytes));
  }
  return expanded;
}

Row stream_of(std::initializer_list<std::pair<std::uint64_t, unsigned>> fields) {
  Row stream(64);
  std::uint64_t num_bits = 0;
  for (const auto& [bits, width] : fields) {
    store_bits(stream.data(), num_bits, width, bits);
    num_bits += width;
  }
  stream.resize((num_bits + 7) / 8);
  return stream;
}

std::vector<cpu::Isa> isas() {
  std::vector<cpu::Isa> result;
  std::copy_if(std::begin(cpu::kAllIsas), std::end(cpu::kAllIsas), std::back_inserter(result), cpu::supported);
  return result;
}

std::uint64_t stored_bytes(const RowCodec& codec, const Row& rows, std::uint64_t row_bytes,
                           const std::function<std::unique_ptr<RowCodec>(cpu::Isa)>& open) {
  const std::uint64_t num_rows = rows.size() / row_bytes;
  std::vector<std::uint32_t> sizes(num_rows);
  codec.measure(rows.data(), num_rows, sizes.data());
  std::vector<Row> expected(num_rows);
  std::uint64_t sum = codec.plan().size();
  for (std::uint64_t i = 0; i < num_rows; ++i) sum += sizes[i];
  for (const cpu::Isa isa : isas()) {
    const auto other = open(isa);
    std::vector<std::uint32_t> other_sizes(num_rows);
    other->measure(rows.data(), num_rows, other_sizes.data());
    EXPECT_EQ(other_sizes, sizes);
    for (std::uint64_t i = 0; i < num_rows; ++i) {
      // Alone in memory, for the sanitizer to see what is read around it.
      const auto first = rows.begin() + static_cast<std::ptrdiff_t>(i * row_bytes);
      const Row row(first, first + static_cast<std::ptrdiff_t>(row_bytes));
      const Row stored = encoded(*other, row);
      EXPECT_EQ(stored.size(), sizes[i]);
      if (expected[i].empty()) expected[i] = stored;
      EXPECT_EQ(stored, expected[i]);
      EXPECT_EQ(decoded(*other, stored, row_bytes, stored.size() == row_bytes), row);
    }
  }
  return sum;
}

}  // namespace stillbit::testing
