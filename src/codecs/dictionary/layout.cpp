#include "codecs/dictionary/layout.hpp"

#include "codecs/dictionary/blocks.hpp"
#include "core/bits.hpp"
#include "core/checked.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <string>

namespace stillbit::dictionary {
namespace {

constexpr std::uint64_t kPlanHeaderBytes = 12;
constexpr std::uint64_t kKindHeaderBytes = 6;  // and the base

constexpr unsigned kHasSign = 1;
constexpr unsigned kHasMisses = 2;

unsigned kind_bits_for(std::uint64_t num_kinds) noexcept {
  return static_cast<unsigned>(std::bit_width(num_kinds - 1));
}

/// `num_bits` (0 to 64) ones.
std::uint64_t ones(unsigned num_bits) noexcept {
  return num_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << num_bits) - 1;
}

Fault bad(const char* field, std::uint64_t value) {
  return corrupt(std::string("dictionary plan field ") + field + " has the invalid value " + std::to_string(value));
}

/// Bit streams of numbers of up to 64 bits, in halves that load_bits and store_bits take.
std::uint64_t load_number(const std::byte* stream, std::uint64_t bit_offset, unsigned num_bits) noexcept {
  const unsigned low_bits = std::min(num_bits, 32U);
  const std::uint64_t low = load_bits(stream, bit_offset, low_bits);
  if (num_bits == low_bits) return low;
  return low | load_bits(stream, bit_offset + low_bits, num_bits - low_bits) << low_bits;
}
void store_number(std::byte* stream, std::uint64_t bit_offset, unsigned num_bits, std::uint64_t number) noexcept {
  const unsigned low_bits = std::min(num_bits, 32U);
  store_bits(stream, bit_offset, low_bits, number & ones(low_bits));
  if (num_bits > low_bits) store_bits(stream, bit_offset + low_bits, num_bits - low_bits, number >> low_bits);
}

/// Reads a kind from the front of `bytes`, and takes it away there.
Result<Kind> parse_kind(Bytes& bytes, unsigned view_bytes) {
  const std::uint64_t header_bytes = kKindHeaderBytes + view_bytes;
  if (bytes.size() < header_bytes) return corrupt("dictionary plan ends within its kinds");
  const std::byte* src = bytes.data();
  Kind kind;
  kind.code_bits = load<std::uint8_t>(src);
  const unsigned flags = load<std::uint8_t>(src + 1);
  kind.shift = load<std::uint8_t>(src + 2);
  kind.number_bits = load<std::uint8_t>(src + 3);
  const std::uint64_t num_entries = load<std::uint16_t>(src + 4);
  std::memcpy(&kind.base, src + kKindHeaderBytes, view_bytes);

  if ((flags & ~(kHasSign | kHasMisses)) != 0) return bad("flags", flags);
  kind.has_sign = (flags & kHasSign) != 0;
  kind.has_misses = (flags & kHasMisses) != 0;
  const unsigned domain_bits = 8 * view_bytes - (kind.has_sign ? 1 : 0);
  if (kind.shift >= domain_bits) return bad("shift", kind.shift);
  if (kind.number_bits > domain_bits - kind.shift) return bad("number_bits", kind.number_bits);
  if ((kind.base & ~ones(domain_bits - kind.shift)) != 0) return bad("base", kind.base);
  if (num_entries == 0) {
    if (kind.code_bits > kind.number_bits) return bad("code_bits", kind.code_bits);
    if (kind.has_misses != (kind.code_bits < kind.number_bits)) return bad("flags", flags);
  } else {
    if (kind.number_bits < kMaxDictionaryCodeBits && num_entries > std::uint64_t{1} << kind.number_bits)
      return bad("num_entries", num_entries);
    if (kind.code_bits > kMaxDictionaryCodeBits || std::uint64_t{1} << kind.code_bits > 2 * num_entries)
      return bad("code_bits", kind.code_bits);
  }
  const std::uint64_t num_bytes = serialized_bytes(view_bytes, num_entries, kind.number_bits);
  if (bytes.size() < num_bytes) return corrupt("dictionary plan ends within its kinds");
  kind.entries.resize(num_entries);
  for (std::uint64_t i = 0; i < num_entries; ++i)
    kind.entries[i] = load_number(src + header_bytes, i * kind.number_bits, kind.number_bits);
  bytes = bytes.subspan(num_bytes);
  return kind;
}

void serialize_kind(const Kind& kind, unsigned view_bytes, std::vector<std::byte>& bytes) {
  const std::size_t start = bytes.size();
  bytes.resize(start + serialized_bytes(view_bytes, kind.entries.size(), kind.number_bits));
  std::byte* dst = bytes.data() + start;
  const unsigned flags = (kind.has_sign ? kHasSign : 0) | (kind.has_misses ? kHasMisses : 0);
  store(dst, static_cast<std::uint8_t>(kind.code_bits));
  store(dst + 1, static_cast<std::uint8_t>(flags));
  store(dst + 2, static_cast<std::uint8_t>(kind.shift));
  store(dst + 3, static_cast<std::uint8_t>(kind.number_bits));
  store(dst + 4, static_cast<std::uint16_t>(kind.entries.size()));
  std::memcpy(dst + kKindHeaderBytes, &kind.base, view_bytes);
  dst += kKindHeaderBytes + view_bytes;
  for (std::size_t i = 0; i < kind.entries.size(); ++i)
    store_number(dst, i * kind.number_bits, kind.number_bits, kind.entries[i]);
}

/// What a number stands for, without the sign.
std::uint64_t word_of(const Kind& kind, std::uint64_t number, std::uint64_t wrap_mask) noexcept {
  return ((number + kind.base) & wrap_mask) << kind.shift;
}

template <class Word>
void fill_slots(const Plan& plan, const RowTables& tables, std::vector<std::byte>& bytes) {
  std::uint64_t num_slots = 0;
  for (std::size_t i = 0; i < plan.kinds.size(); ++i) {
    if (!tables.kinds[i].is_window)
      num_slots = tables.kinds[i].first_slot + std::uint64_t{tables.kinds[i].slot_mask} + 1;
  }
  // All ones: empty.
  bytes.assign(num_slots * sizeof(Slot<Word>), std::byte{0xFF});
  for (std::size_t i = 0; i < plan.kinds.size(); ++i) {
    const KindTable& table = tables.kinds[i];
    const Kind& kind = plan.kinds[i];
    std::byte* slots = bytes.data() + table.first_slot * sizeof(Slot<Word>);
    for (std::uint32_t entry = 0; entry < kind.entries.size(); ++entry) {
      const auto key = static_cast<Word>(word_of(kind, kind.entries[entry], table.wrap_mask));
      std::uint64_t at = (std::uint64_t{key} * kHashFactor) >> table.slot_shift;
      auto slot = load<Slot<Word>>(slots + at * sizeof(Slot<Word>));
      while (slot.entry != kNoEntry && slot.key != key) {
        at = (at + 1) & table.slot_mask;
        slot = load<Slot<Word>>(slots + at * sizeof(Slot<Word>));
      }
      if (slot.entry == kNoEntry) store(slots + at * sizeof(Slot<Word>), Slot<Word>{key, entry});
    }
  }
}

}  // namespace

std::uint64_t Kind::num_coded() const noexcept {
  return std::min<std::uint64_t>(entries.size(), num_codes() - (has_marker() ? 1 : 0));
}

unsigned Kind::patch_bits() const noexcept {
  if (entries.empty() || !has_marker()) return 0;
  const std::uint64_t num_rest = entries.size() - num_coded();
  return static_cast<unsigned>(std::bit_width(has_misses ? num_rest : num_rest - 1));
}

Plan make_plan(std::uint64_t row_bytes, unsigned view_bytes, const std::vector<Kind>& columns) {
  Plan plan{row_bytes, view_bytes, {}, {}};
  plan.column_kinds.reserve(columns.size());
  std::map<Kind, std::uint16_t> numbers;
  for (const Kind& kind : columns) {
    const auto [at, is_new] = numbers.try_emplace(kind, static_cast<std::uint16_t>(plan.kinds.size()));
    if (is_new) plan.kinds.push_back(kind);
    plan.column_kinds.push_back(at->second);
  }
  return plan;
}

std::uint64_t serialized_bytes(unsigned view_bytes, std::uint64_t num_entries, unsigned number_bits) noexcept {
  return kKindHeaderBytes + view_bytes + ceil_div(num_entries * number_bits, 8);
}

std::vector<std::byte> serialize(const Plan& plan) {
  std::vector<std::byte> bytes(kPlanHeaderBytes);
  const unsigned kind_bits = kind_bits_for(plan.kinds.size());
  store(bytes.data(), static_cast<std::uint8_t>(plan.view_bytes));
  store(bytes.data() + 1, static_cast<std::uint8_t>(kind_bits));
  store(bytes.data() + 4, static_cast<std::uint32_t>(plan.kinds.size()));
  store(bytes.data() + 8, static_cast<std::uint32_t>(plan.column_kinds.size()));
  for (const Kind& kind : plan.kinds) serialize_kind(kind, plan.view_bytes, bytes);
  const std::size_t start = bytes.size();
  bytes.resize(start + ceil_div(plan.column_kinds.size() * kind_bits, 8));
  for (std::size_t i = 0; i < plan.column_kinds.size(); ++i)
    store_bits(bytes.data() + start, i * kind_bits, kind_bits, plan.column_kinds[i]);
  return bytes;
}

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes) {
  if (bytes.size() < kPlanHeaderBytes) return corrupt("dictionary plan is shorter than its header");
  Plan plan{row_bytes, load<std::uint8_t>(bytes.data()), {}, {}};
  const auto kind_bits = load<std::uint8_t>(bytes.data() + 1);
  const auto reserved = load<std::uint16_t>(bytes.data() + 2);
  const auto num_kinds = load<std::uint32_t>(bytes.data() + 4);
  const auto period_columns = load<std::uint32_t>(bytes.data() + 8);
  if (!std::has_single_bit(plan.view_bytes) || plan.view_bytes > 8 || row_bytes % plan.view_bytes != 0)
    return bad("view_bytes", plan.view_bytes);
  if (row_bytes == 0 || plan.num_columns() > kMaxColumns) return bad("row_bytes", row_bytes);
  if (num_kinds == 0 || num_kinds > kMaxKinds) return bad("num_kinds", num_kinds);
  if (kind_bits != kind_bits_for(num_kinds)) return bad("kind_bits", kind_bits);
  if (reserved != 0) return bad("reserved", reserved);
  if (period_columns == 0 || plan.num_columns() % period_columns != 0) return bad("period_columns", period_columns);

  Bytes rest = bytes.subspan(kPlanHeaderBytes);
  std::uint64_t plan_entries = 0;
  for (std::uint32_t i = 0; i < num_kinds; ++i) {
    STILLBIT_TRY(Kind kind, parse_kind(rest, plan.view_bytes));
    plan_entries += kind.entries.size();
    if (plan_entries > kMaxPlanEntries) return bad("num_entries", plan_entries);
    plan.kinds.push_back(std::move(kind));
  }
  const std::uint64_t size = ceil_div(std::uint64_t{period_columns} * kind_bits, 8);
  if (rest.size() != size) {
    return corrupt("dictionary plan_bytes is " + std::to_string(bytes.size()) + " instead of " +
                   std::to_string(bytes.size() - rest.size() + size));
  }
  plan.column_kinds.resize(period_columns);
  for (std::size_t i = 0; i < period_columns; ++i) {
    const std::uint64_t number = load_bits(rest.data(), i * kind_bits, kind_bits);
    if (number >= num_kinds) return bad("column_kinds", number);
    plan.column_kinds[i] = static_cast<std::uint16_t>(number);
  }
  return plan;
}

std::uint64_t num_field_bits(const Plan& plan) noexcept {
  std::uint64_t num_bits = 0;
  for (const std::uint16_t number : plan.column_kinds) num_bits += plan.kinds[number].field_bits();
  return num_bits * (plan.num_columns() / plan.column_kinds.size());
}

RowTableStorage::RowTableStorage(const Plan& plan) {
  std::vector<std::uint32_t> first_words;
  std::uint32_t num_words = 0;
  std::uint32_t num_slots = 0;
  for (const Kind& kind : plan.kinds) {
    const unsigned domain_bits = 8 * plan.view_bytes - (kind.has_sign ? 1 : 0);
    KindTable table{.base = kind.base,
                    .domain_mask = ones(domain_bits),
                    .number_mask = ones(kind.number_bits),
                    .wrap_mask = ones(domain_bits - kind.shift),
                    .field_mask = ones(kind.field_bits()),
                    .marker = ones(kind.code_bits),
                    .patch_mask = static_cast<std::uint32_t>(ones(kind.patch_bits())),
                    .code_bits = static_cast<std::uint8_t>(kind.code_bits),
                    .patch_bits = static_cast<std::uint8_t>(kind.patch_bits()),
                    .number_bits = static_cast<std::uint8_t>(kind.number_bits),
                    .shift = static_cast<std::uint8_t>(kind.shift),
                    .sign_bits = static_cast<std::uint8_t>(kind.has_sign),
                    .has_marker = kind.has_marker(),
                    .has_misses = kind.has_misses,
                    .is_window = kind.entries.empty()};
    first_words.push_back(num_words);
    if (!table.is_window) {
      const std::uint64_t capacity = std::bit_ceil(4 * std::uint64_t{kind.entries.size()});
      table.num_coded = static_cast<std::uint32_t>(kind.num_coded());
      table.first_patch_word = num_words + (std::uint32_t{1} << kind.field_bits());
      table.first_slot = num_slots;
      table.slot_mask = static_cast<std::uint32_t>(capacity - 1);
      table.slot_shift = static_cast<std::uint8_t>(64 - std::bit_width(capacity - 1));
      num_words = table.first_patch_word + table.patch_mask + 1;
      num_slots += static_cast<std::uint32_t>(capacity);
    }
    kinds_.push_back(table);
  }

  words_.resize((std::uint64_t{num_words} + 1) * plan.view_bytes);
  for (std::size_t i = 0; i < plan.kinds.size(); ++i) {
    const Kind& kind = plan.kinds[i];
    const KindTable& table = kinds_[i];
    if (table.is_window) continue;
    const auto put = [&](std::uint64_t at, std::uint64_t word) {
      std::memcpy(words_.data() + at * plan.view_bytes, &word, plan.view_bytes);
    };
    const auto word_at = [&](std::uint64_t entry, std::uint64_t end) {
      return word_of(kind, entry < end ? kind.entries[entry] : 0, table.wrap_mask);
    };
    for (std::uint64_t field = 0; field <= table.field_mask; ++field) {
      const std::uint64_t code = field >> table.sign_bits;
      const std::uint64_t sign = table.sign_bits == 0 ? 0 : (field & 1) << (8 * plan.view_bytes - 1);
      const bool is_patch = table.has_marker && code == table.marker;
      put(first_words[i] + field, sign | (is_patch ? 0 : word_at(code, table.num_coded)));
    }
    for (std::uint64_t code = 0; code <= table.patch_mask; ++code)
      put(table.first_patch_word + code, word_at(table.num_coded + code, kind.entries.size()));
  }

  const std::uint64_t num_columns = plan.num_columns();
  columns_.resize(4 * num_columns);
  column_kinds_.resize(num_columns);
  std::uint32_t* const bit_offsets = columns_.data();
  std::uint32_t* const column_words = bit_offsets + num_columns;
  std::uint32_t* const field_masks = column_words + num_columns;
  std::uint32_t* const thresholds = field_masks + num_columns;
  std::uint32_t bit_offset = 0;
  for (std::uint32_t column = 0; column < num_columns; ++column) {
    const std::uint16_t number = plan.column_kinds[column % plan.column_kinds.size()];
    const KindTable& table = kinds_[number];
    column_kinds_[column] = number;
    bit_offsets[column] = bit_offset;
    bit_offset += table.code_bits + std::uint32_t{table.sign_bits};
    if (!table.is_window) {
      column_words[column] = first_words[number];
      field_masks[column] = static_cast<std::uint32_t>(table.field_mask);
      thresholds[column] = table.has_marker ? static_cast<std::uint32_t>(table.marker << table.sign_bits) : ~0U;
    }
    if (segments_.empty() || segments_.back().is_window != table.is_window)
      segments_.push_back({column, column, table.is_window, false});
    segments_.back().end = column + 1;
    segments_.back().has_markers |= table.has_marker;
  }
  tables_ = {.row_bytes = plan.row_bytes,
             .num_columns = num_columns,
             .num_field_bits = bit_offset,
             .minimum_row_bytes = ceil_div(std::uint64_t{bit_offset}, 8),
             .num_segments = segments_.size(),
             .num_words = num_words,
             .segments = segments_.data(),
             .kinds = kinds_.data(),
             .words = words_.data(),
             .bit_offsets = bit_offsets,
             .column_kinds = column_kinds_.data(),
             .first_words = column_words,
             .field_masks = field_masks,
             .thresholds = thresholds};
  if (plan.view_bytes > 4) return;
  blocks_ = make_blocks(plan, tables_);
  tables_.num_blocks = blocks_.size();
  tables_.blocks = blocks_.data();
}

RowTableStorage::~RowTableStorage() = default;

std::vector<std::byte> make_slots(const Plan& plan, const RowTables& tables) {
  std::vector<std::byte> bytes;
  switch (plan.view_bytes) {
    case 1:
      fill_slots<std::uint8_t>(plan, tables, bytes);
      break;
    case 2:
      fill_slots<std::uint16_t>(plan, tables, bytes);
      break;
    case 4:
      fill_slots<std::uint32_t>(plan, tables, bytes);
      break;
    default:
      fill_slots<std::uint64_t>(plan, tables, bytes);
  }
  return bytes;
}

}  // namespace stillbit::dictionary
