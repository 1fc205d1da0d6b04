#include "codecs/ibp/layout.hpp"

#include "core/bits.hpp"
#include "core/checked.hpp"

#include <bit>
#include <string>
#include <unordered_map>
#include <utility>

namespace stillbit::ibp {
namespace {

constexpr std::uint64_t kPlanHeaderBytes = 8;
constexpr std::uint64_t kVectorBytes = 64;

unsigned entry_bits_for(std::uint64_t num_entries) noexcept {
  return static_cast<unsigned>(std::bit_width(num_entries - 1));
}

struct HashEntry {
  std::size_t operator()(const Entry& entry) const noexcept {
    std::uint64_t hash = entry.value;
    for (const std::uint64_t word : {entry.mask, entry.constant})
      hash = (hash ^ word) * 0x9E3779B97F4A7C15U + (hash >> 29);
    return hash;
  }
};

std::uint64_t load_word(const std::byte* src, unsigned view_bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, src, view_bytes);
  return word;
}

std::uint64_t all_ones(unsigned view_bytes) noexcept {
  return ~std::uint64_t{0} >> (64 - 8 * view_bytes);
}

Fault bad(const char* field, std::uint64_t value) {
  return corrupt(std::string("ibp plan field ") + field + " has the invalid value " + std::to_string(value));
}

}  // namespace

Plan make_plan(std::uint64_t row_bytes, unsigned view_bytes, const std::vector<Entry>& columns) {
  Plan plan{row_bytes, view_bytes, {}, {}};
  plan.column_entries.reserve(columns.size());
  std::unordered_map<Entry, std::uint16_t, HashEntry> numbers;
  for (const Entry& entry : columns) {
    const auto [at, is_new] = numbers.try_emplace(entry, static_cast<std::uint16_t>(plan.entries.size()));
    if (is_new) plan.entries.push_back(entry);
    plan.column_entries.push_back(at->second);
  }
  if (plan.entries.size() == 1) plan.column_entries.clear();
  return plan;
}

std::uint64_t serialized_bytes(const Plan& plan) noexcept {
  return kPlanHeaderBytes + 3 * plan.view_bytes * plan.entries.size() +
         ceil_div(plan.num_columns() * entry_bits_for(plan.entries.size()), 8);
}

std::vector<std::byte> serialize(const Plan& plan) {
  std::vector<std::byte> bytes(serialized_bytes(plan));
  const unsigned entry_bits = entry_bits_for(plan.entries.size());
  store(bytes.data(), static_cast<std::uint8_t>(plan.view_bytes));
  store(bytes.data() + 1, static_cast<std::uint8_t>(entry_bits));
  store(bytes.data() + 4, static_cast<std::uint32_t>(plan.entries.size()));
  std::byte* dst = bytes.data() + kPlanHeaderBytes;
  for (const Entry& entry : plan.entries) {
    for (const std::uint64_t word : {entry.value, entry.mask, entry.constant}) {
      std::memcpy(dst, &word, plan.view_bytes);
      dst += plan.view_bytes;
    }
  }
  for (std::size_t i = 0; i < plan.column_entries.size(); ++i)
    store_bits(dst, i * entry_bits, entry_bits, plan.column_entries[i]);
  return bytes;
}

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes) {
  if (row_bytes == 0 || row_bytes > kMaxRowBytes) return bad("row_bytes", row_bytes);
  if (bytes.size() < kPlanHeaderBytes) return corrupt("ibp plan is shorter than its header");
  Plan plan{row_bytes, load<std::uint8_t>(bytes.data()), {}, {}};
  const auto entry_bits = load<std::uint8_t>(bytes.data() + 1);
  const auto reserved = load<std::uint16_t>(bytes.data() + 2);
  const auto num_entries = load<std::uint32_t>(bytes.data() + 4);
  if (!std::has_single_bit(plan.view_bytes) || plan.view_bytes > 8 || row_bytes % plan.view_bytes != 0) {
    return bad("view_bytes", plan.view_bytes);
  }
  if (num_entries == 0 || num_entries > kMaxEntries) return bad("num_entries", num_entries);
  if (entry_bits != entry_bits_for(num_entries)) return bad("entry_bits", entry_bits);
  if (reserved != 0) return bad("reserved", reserved);
  plan.entries.resize(num_entries);
  if (const auto size = serialized_bytes(plan); size != bytes.size()) {
    return corrupt("ibp plan_bytes is " + std::to_string(bytes.size()) + " instead of " + std::to_string(size));
  }

  const std::byte* src = bytes.data() + kPlanHeaderBytes;
  for (Entry& entry : plan.entries) {
    for (std::uint64_t* word : {&entry.value, &entry.mask, &entry.constant}) {
      *word = load_word(src, plan.view_bytes);
      src += plan.view_bytes;
    }
    if ((entry.constant & ~entry.mask) != 0) return bad("constant", entry.constant);
    if ((entry.value & ~entry.mask) != 0) return bad("value", entry.value);
  }
  if (entry_bits > 0) {
    plan.column_entries.resize(plan.num_columns());
    for (std::size_t i = 0; i < plan.column_entries.size(); ++i) {
      const std::uint64_t number = load_bits(src, i * entry_bits, entry_bits);
      if (number >= num_entries) return bad("column_entries", number);
      plan.column_entries[i] = static_cast<std::uint16_t>(number);
    }
  }
  return plan;
}

std::uint64_t minimum_row_bytes(const Plan& plan) noexcept {
  const auto static_bits = [&](const Entry& entry) {
    return 8 * plan.view_bytes - static_cast<std::uint64_t>(std::popcount(entry.mask)) + (entry.patch() != 0 ? 1 : 0);
  };
  std::uint64_t num_bits = 0;
  if (plan.column_entries.empty()) {
    num_bits = plan.num_columns() * static_bits(plan.entries[0]);
  } else {
    for (const std::uint16_t number : plan.column_entries) num_bits += static_bits(plan.entries[number]);
  }
  return ceil_div(num_bits, 8);
}

RowMaskStorage::RowMaskStorage(const Plan& plan, bool with_moves) {
  const std::uint64_t num_columns = plan.num_columns();
  const std::uint64_t padded_bytes = align_up(plan.row_bytes, kVectorBytes);
  rows_.resize(5 * padded_bytes);
  checked_.resize(ceil_div(num_columns, 64));

  std::byte* row = rows_.data();
  const auto next_row = [&] { return std::exchange(row, row + padded_bytes); };
  std::byte* const value = next_row();
  std::byte* const free = next_row();
  std::byte* const patch = next_row();
  std::byte* const constant = next_row();
  std::byte* const patch_bits = next_row();

  std::uint64_t num_free_bits = 0;
  for (std::uint64_t column = 0; column < num_columns; ++column) {
    const auto put = [&](std::byte* dst, std::uint64_t word) {
      std::memcpy(dst + column * plan.view_bytes, &word, plan.view_bytes);
    };
    const Entry& entry = plan.entry(column);
    const std::uint64_t free_mask = ~entry.mask & all_ones(plan.view_bytes);
    const auto num_patch_bits = static_cast<std::uint64_t>(std::popcount(entry.patch()));
    put(value, entry.value);
    put(free, free_mask);
    put(patch, entry.patch());
    put(constant, entry.constant);
    put(patch_bits, num_patch_bits);
    num_free_bits += static_cast<std::uint64_t>(std::popcount(free_mask));
    if (num_patch_bits > 0) {
      checked_[column / 64] |= std::uint64_t{1} << (column % 64);
      checked_columns_.push_back(static_cast<std::uint32_t>(column));
    }
  }
  const std::uint64_t num_static_bits = checked_columns_.size() + num_free_bits;
  masks_ = {.row_bytes = plan.row_bytes,
            .num_checked = checked_columns_.size(),
            .num_static_bits = num_static_bits,
            .minimum_row_bytes = ceil_div(num_static_bits, 8),
            .value = value,
            .free = free,
            .patch = patch,
            .constant = constant,
            .patch_bits = patch_bits,
            .checked = checked_.data(),
            .checked_columns = checked_columns_.data()};
  if (!with_moves) return;
  moves_ = move_tables(free, plan.row_bytes);
  masks_.places = moves_.places.data();
  for (unsigned step = 0; step < kNumMoves; ++step)
    masks_.moves[step] = moves_.moves[step].empty() ? nullptr : moves_.moves[step].data();
}

}  // namespace stillbit::ibp
