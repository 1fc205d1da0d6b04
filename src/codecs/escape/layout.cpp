#include "codecs/escape/layout.hpp"

#include "core/checked.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace stillbit::escape {
namespace {

enum Field : std::size_t {
  kViewBytesAt = 0,
  kSignBitsAt = 1,
  kSymbolBitsAt = 2,
  kDroppedBitsAt = 3,
  kNumTiersAt = 4,
  kTierBitsAt = 5,
  kRowShiftsAt = 8,
  kReservedAt = 9,
  kNumColumnShiftsAt = 12,
  kTablesAt = 16,
};

Fault bad_field(const char* field, std::uint64_t value) {
  return corrupt(std::string("escape plan: field ") + field + " has the invalid value " + std::to_string(value));
}

std::size_t table_entries(unsigned tier_bits) {
  return (std::size_t{1} << tier_bits) - 1;
}

/// Reads symbols from `offset` on, which it moves behind them. Precondition: they are there.
Result<std::vector<std::uint16_t>> parse_symbols(Bytes bytes, std::size_t& offset, std::size_t count,
                                                 unsigned symbol_bits, const char* field) {
  std::vector<std::uint16_t> symbols(count);
  for (std::uint16_t& symbol : symbols) {
    symbol = load<std::uint16_t>(bytes.data() + offset);
    offset += sizeof(symbol);
    if (symbol >> symbol_bits != 0) return bad_field(field, symbol);
  }
  return symbols;
}

void insert(SymbolSet& set, unsigned symbol) {
  std::uint8_t& bits = set.bits[symbol / 128][symbol % 16];
  bits = static_cast<std::uint8_t>(bits | 1U << (symbol / 16 % 8));
}

}  // namespace

unsigned min_symbol_bits(unsigned view_bytes) noexcept {
  return view_bytes;
}

unsigned max_symbol_bits(unsigned view_bytes) noexcept {
  return view_bytes == 1 ? 7 : view_bytes == 8 ? 12 : 8;
}

std::uint64_t serialized_bytes(const Plan& plan) noexcept {
  std::uint64_t num_symbols = plan.column_shifts.size();
  for (const Tier& tier : plan.tiers) num_symbols += table_entries(tier.bits);
  return kTablesAt + num_symbols * sizeof(std::uint16_t);
}

std::vector<std::byte> serialize(const Plan& plan) {
  std::vector<std::byte> bytes(serialized_bytes(plan));
  std::byte* dst = bytes.data();
  const auto put = [&](std::size_t offset, unsigned value) { store(dst + offset, static_cast<std::uint8_t>(value)); };
  put(kViewBytesAt, plan.view_bytes);
  put(kSignBitsAt, plan.sign_bits);
  put(kSymbolBitsAt, plan.symbol_bits);
  put(kDroppedBitsAt, plan.dropped_bits);
  put(kNumTiersAt, static_cast<unsigned>(plan.tiers.size()));
  for (std::size_t i = 0; i < plan.tiers.size(); ++i) put(kTierBitsAt + i, plan.tiers[i].bits);
  put(kRowShiftsAt, plan.row_shifts ? 1 : 0);
  store(dst + kNumColumnShiftsAt, static_cast<std::uint32_t>(plan.column_shifts.size()));
  dst += kTablesAt;
  const auto append = [&](const std::vector<std::uint16_t>& symbols) {
    for (const std::uint16_t symbol : symbols) {
      store(dst, symbol);
      dst += sizeof(symbol);
    }
  };
  for (const Tier& tier : plan.tiers) append(tier.symbols);
  append(plan.column_shifts);
  return bytes;
}

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes) {
  if (bytes.size() < kTablesAt) return corrupt("escape plan: " + std::to_string(bytes.size()) + " bytes are too few");
  const auto get = [&](std::size_t offset) -> unsigned { return load<std::uint8_t>(bytes.data() + offset); };
  Plan plan;
  plan.row_bytes = row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes) return bad_field("row_bytes", row_bytes);
  plan.view_bytes = get(kViewBytesAt);
  if (plan.view_bytes > 8 || !std::has_single_bit(plan.view_bytes) || row_bytes % plan.view_bytes != 0)
    return bad_field("view_bytes", plan.view_bytes);
  plan.sign_bits = get(kSignBitsAt);
  if (plan.sign_bits > 1) return bad_field("sign_bits", plan.sign_bits);
  plan.symbol_bits = get(kSymbolBitsAt);
  if (plan.symbol_bits < min_symbol_bits(plan.view_bytes) || plan.symbol_bits > max_symbol_bits(plan.view_bytes))
    return bad_field("symbol_bits", plan.symbol_bits);
  plan.dropped_bits = get(kDroppedBitsAt);
  if (plan.dropped_bits > 8 * plan.view_bytes - 1 - plan.symbol_bits)
    return bad_field("dropped_bits", plan.dropped_bits);
  const unsigned num_tiers = get(kNumTiersAt);
  if (num_tiers == 0 || num_tiers > kMaxTiers) return bad_field("num_tiers", num_tiers);
  plan.tiers.resize(num_tiers);
  std::uint64_t num_symbols = 0;
  for (unsigned i = 0; i < kMaxTiers; ++i) {
    const unsigned bits = get(kTierBitsAt + i);
    const bool fits = i < num_tiers ? bits >= 1 && bits <= kMaxTierBits : bits == 0;
    if (!fits) return bad_field("tier_bits", bits);
    if (i >= num_tiers) continue;
    plan.tiers[i].bits = bits;
    num_symbols += table_entries(bits);
  }
  if (get(kRowShiftsAt) > 1) return bad_field("row_shifts", get(kRowShiftsAt));
  plan.row_shifts = get(kRowShiftsAt) == 1;
  for (std::size_t i = kReservedAt; i < kNumColumnShiftsAt; ++i) {
    if (get(i) != 0) return bad_field("reserved", get(i));
  }
  const auto num_shifts = load<std::uint32_t>(bytes.data() + kNumColumnShiftsAt);
  if (num_shifts != 0 && (num_shifts > plan.num_columns() || plan.num_columns() % num_shifts != 0))
    return bad_field("num_column_shifts", num_shifts);
  if (bytes.size() != kTablesAt + (num_symbols + num_shifts) * sizeof(std::uint16_t))
    return bad_field("plan_bytes", bytes.size());

  std::size_t offset = kTablesAt;
  for (Tier& tier : plan.tiers) {
    STILLBIT_TRY(tier.symbols, parse_symbols(bytes, offset, table_entries(tier.bits), plan.symbol_bits, "tables"));
  }
  STILLBIT_TRY(plan.column_shifts, parse_symbols(bytes, offset, num_shifts, plan.symbol_bits, "column_shifts"));
  return plan;
}

unsigned count_bits(const Plan& plan) noexcept {
  return static_cast<unsigned>(std::bit_width(plan.num_columns()));
}

std::uint64_t counts_bytes(const Plan& plan) noexcept {
  return ceil_div((plan.tiers.size() - 1) * count_bits(plan), 8);
}

std::uint64_t minimum_row_bytes(const Plan& plan) noexcept {
  const std::uint64_t n = plan.num_columns();
  return ceil_div(n * plan.fixed_bits(), 8) + ceil_div(n * plan.tiers[0].bits, 8) +
         (plan.row_shifts ? plan.symbol_size() : 0) + counts_bytes(plan);
}

RowLayoutStorage::RowLayoutStorage(const Plan& plan, LayoutUse use) {
  const unsigned word_bits = 8 * plan.view_bytes;
  WordShape& shape = layout_.shape;
  shape.fixed_bits = plan.fixed_bits();
  shape.sign_bits = plan.sign_bits;
  shape.dropped_bits = plan.dropped_bits;
  shape.symbol_bits = plan.symbol_bits;
  shape.symbol_at = word_bits - 1 - plan.symbol_bits;
  // Without a sign there is nothing to shift: any shift that is defined will do.
  shape.sign_shift = plan.sign_bits == 0 ? 0 : word_bits - shape.fixed_bits;
  const std::uint64_t sign = std::uint64_t{1} << (word_bits - 1);
  shape.rest_mask = low_mask(shape.fixed_bits - plan.sign_bits);
  shape.sign_mask = plan.sign_bits == 0 ? 0 : sign;
  shape.forbidden = low_mask(plan.dropped_bits) | (plan.sign_bits == 0 ? sign : 0);
  shape.symbol_mask = low_mask(plan.symbol_bits);

  // The sign gets to its place with the byte that it is in, unless there are bits of the rest in that byte.
  const bool is_sign_apart = shape.symbol_at <= word_bits - 8;
  layout_.unpacks_sign = plan.sign_bits == 0 || is_sign_apart;
  layout_.unpacked_mask = shape.rest_mask << shape.dropped_bits | (layout_.unpacks_sign ? shape.sign_mask : 0);
  layout_.unpacking = fields::unpacking_for({.word_bytes = plan.view_bytes,
                                             .field_bits = shape.fixed_bits,
                                             .place = shape.dropped_bits,
                                             .ends_on_top = plan.sign_bits != 0 && is_sign_apart});

  layout_.row_bytes = plan.row_bytes;
  layout_.num_columns = plan.num_columns();
  layout_.fixed_bytes = ceil_div(layout_.num_columns * shape.fixed_bits, 8);
  layout_.code_bytes = ceil_div(layout_.num_columns * plan.tiers[0].bits, 8);
  layout_.minimum_row_bytes = minimum_row_bytes(plan);
  layout_.counts_at = layout_.minimum_row_bytes - counts_bytes(plan);
  layout_.count_bits = count_bits(plan);

  layout_.num_tiers = static_cast<unsigned>(plan.tiers.size());
  for (unsigned i = 0; i < layout_.num_tiers; ++i) {
    const Tier& tier = plan.tiers[i];
    layout_.tier_bits[i] = tier.bits;
    for (std::size_t code = 1; code <= tier.symbols.size(); ++code) {
      layout_.symbol_of_code[i][code] = tier.symbols[code - 1];
      layout_.low_byte_of_code[i][code] = static_cast<std::uint8_t>(tier.symbols[code - 1]);
    }
  }
  if (use == LayoutUse::kEncodingToo) lay_out_encoding(plan);
  layout_.row_shifts = plan.row_shifts;
  if (!plan.column_shifts.empty()) {
    const unsigned symbol_size = plan.symbol_size();
    column_shifts_.resize((layout_.num_columns + kPadding) * symbol_size);
    for (std::uint64_t i = 0; i < layout_.num_columns; ++i) {
      const std::uint16_t shift = plan.column_shifts[i % plan.column_shifts.size()];
      std::memcpy(column_shifts_.data() + i * symbol_size, &shift, symbol_size);
    }
    layout_.column_shifts = column_shifts_.data();
  }
}

/// How fixed fields are packed, and what encoding asks of a symbol: which tier has it, and by what code.
void RowLayoutStorage::lay_out_encoding(const Plan& plan) {
  if (layout_.shape.fixed_bits >= fields::min_packed_bits(plan.view_bytes)) {
    packing_ = fields::packing_for(plan.view_bytes, layout_.shape.fixed_bits);
    layout_.packing = &packing_;
  }
  const std::size_t num_symbols = std::max<std::size_t>(256, std::size_t{1} << plan.symbol_bits);
  tier_of_symbol_.assign(num_symbols, static_cast<std::uint8_t>(layout_.num_tiers));
  for (unsigned i = layout_.num_tiers; i-- > 0;) {
    const Tier& tier = plan.tiers[i];
    code_of_symbol_[i].assign(num_symbols, 0);
    for (std::size_t code = tier.symbols.size(); code > 0; --code) {
      const std::uint16_t symbol = tier.symbols[code - 1];
      code_of_symbol_[i][symbol] = static_cast<std::uint8_t>(code);
      tier_of_symbol_[symbol] = static_cast<std::uint8_t>(i);
    }
    layout_.code_of_symbol[i] = code_of_symbol_[i].data();
  }
  layout_.tier_of_symbol = tier_of_symbol_.data();
  beyond_of_symbol_.assign(num_symbols, 0);
  for (std::size_t symbol = 0; symbol < num_symbols; ++symbol) {
    for (unsigned i = 0; i < tier_of_symbol_[symbol]; ++i)
      beyond_of_symbol_[symbol] |= std::uint64_t{1} << (i * kCounterBits);
  }
  layout_.beyond_of_symbol = beyond_of_symbol_.data();
  if (plan.symbol_bits > 8) return;
  std::uint16_t lowest = 255;
  std::uint16_t highest = 0;
  for (const Tier& tier : plan.tiers) {
    const auto [low, high] = std::minmax_element(tier.symbols.begin(), tier.symbols.end());
    lowest = std::min(lowest, *low);
    highest = std::max(highest, *high);
  }
  // Entries of 64 symbols from there on are loaded.
  layout_.first_near_symbol = static_cast<std::uint8_t>(std::min<unsigned>(lowest, 256 - 64));
  layout_.tiers_are_near = highest - layout_.first_near_symbol < 63;
  symbol_sets_ = std::make_unique<SymbolSets>();
  for (unsigned symbol = 0; symbol < 256; ++symbol) {
    for (unsigned i = 0; i < layout_.num_tiers; ++i) {
      if (tier_of_symbol_[symbol] <= i) insert(symbol_sets_->in_tiers_up_to[i], symbol);
      for (unsigned bit = 0; bit < layout_.tier_bits[i]; ++bit) {
        if ((code_of_symbol_[i][symbol] >> bit & 1) != 0) insert(symbol_sets_->with_code_bit[i][bit], symbol);
      }
    }
  }
  layout_.symbol_sets = symbol_sets_.get();
}

}  // namespace stillbit::escape
