#include "codecs/rans/layout.hpp"

#include "core/bits.hpp"
#include "core/checked.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

namespace stillbit::rans {
namespace {

enum Field : std::size_t {
  kViewBytesAt = 0,
  kSignBitsAt = 1,
  kSymbolBitsAt = 2,
  kDroppedBitsAt = 3,
  kScaleBitsAt = 4,
  kHasEscapesAt = 5,
  kNumSegmentLevelsAt = 6,
  kNumColumnLevelsAt = 7,
  kNumSymbolsAt = 8,
  kNumFirstAt = 10,
  kFirstSymbolAt = 12,
  kSecondSymbolAt = 14,
  kSegmentColumnsAt = 16,
  kPeriodAt = 20,
  kLevelsAt = 24,
};

constexpr unsigned kColumnLevelBits = 4;

Fault bad_field(const char* field, std::uint64_t value) {
  return corrupt(std::string("rans plan: field ") + field + " has the invalid value " + std::to_string(value));
}

Fault bad_tables(TableFault fault) {
  switch (fault) {
    case TableFault::kTooShort:
      return corrupt("rans plan: field tables reaches beyond the plan");
    case TableFault::kFrequency:
      return corrupt("rans plan: field tables has a frequency that is too large");
    case TableFault::kSum:
      return corrupt("rans plan: field tables has frequencies whose sum is not 2^scale_bits");
    default:
      return corrupt("rans plan: field tables ends before the plan does");
  }
}

/// The first fields: what words are made of.
Result<void> parse_words(Bytes bytes, Plan& plan) {
  const auto get = [&](std::size_t offset) -> unsigned { return load<std::uint8_t>(bytes.data() + offset); };
  plan.view_bytes = get(kViewBytesAt);
  if (plan.view_bytes > 8 || !std::has_single_bit(plan.view_bytes) || plan.row_bytes % plan.view_bytes != 0)
    return bad_field("view_bytes", plan.view_bytes);
  plan.sign_bits = get(kSignBitsAt);
  if (plan.sign_bits > 1) return bad_field("sign_bits", plan.sign_bits);
  plan.symbol_bits = get(kSymbolBitsAt);
  if (plan.symbol_bits < min_symbol_bits(plan.view_bytes) ||
      plan.symbol_bits > max_symbol_bits(plan.view_bytes, plan.sign_bits))
    return bad_field("symbol_bits", plan.symbol_bits);
  plan.dropped_bits = get(kDroppedBitsAt);
  if (plan.dropped_bits > plan.symbol_at()) return bad_field("dropped_bits", plan.dropped_bits);
  plan.scale_bits = get(kScaleBitsAt);
  if (plan.scale_bits < kMinScaleBits || plan.scale_bits > kMaxScaleBits)
    return bad_field("scale_bits", plan.scale_bits);
  if (get(kHasEscapesAt) > 1) return bad_field("has_escapes", get(kHasEscapesAt));
  plan.has_escapes = get(kHasEscapesAt) == 1;
  return {};
}

/// Segments, and the levels of segments and columns. `bytes` has the fields, and perhaps what comes behind them.
Result<void> parse_levels(Bytes bytes, Plan& plan) {
  plan.num_segment_levels = load<std::uint8_t>(bytes.data() + kNumSegmentLevelsAt);
  if (plan.num_segment_levels == 0 || plan.num_segment_levels > kMaxTables)
    return bad_field("num_segment_levels", plan.num_segment_levels);
  plan.num_column_levels = load<std::uint8_t>(bytes.data() + kNumColumnLevelsAt);
  if (plan.num_column_levels == 0 || plan.num_segment_levels + plan.num_column_levels - 1 > kMaxTables)
    return bad_field("num_column_levels", plan.num_column_levels);
  plan.segment_columns = load<std::uint32_t>(bytes.data() + kSegmentColumnsAt);
  const bool has_segments = plan.segment_columns != 0;
  if (has_segments != (plan.num_segment_levels > 1) || plan.segment_columns > plan.num_columns())
    return bad_field("segment_columns", plan.segment_columns);
  const auto period = load<std::uint32_t>(bytes.data() + kPeriodAt);
  const bool repeats = period == 0 || (period <= plan.num_columns() && plan.num_columns() % period == 0);
  if (!repeats || (period != 0) != (plan.num_column_levels > 1)) return bad_field("period", period);
  const std::uint64_t level_bytes = ceil_div(std::uint64_t{period} * kColumnLevelBits, 8);
  if (bytes.size() - kLevelsAt < level_bytes) return bad_field("plan_bytes", bytes.size());
  plan.column_levels.resize(period);
  for (std::uint32_t i = 0; i < period; ++i) {
    plan.column_levels[i] = static_cast<std::uint8_t>(
        load_bits(bytes.data() + kLevelsAt, std::uint64_t{i} * kColumnLevelBits, kColumnLevelBits));
    if (plan.column_levels[i] >= plan.num_column_levels) return bad_field("column_levels", plan.column_levels[i]);
  }
  return {};
}

}  // namespace

unsigned min_symbol_bits(unsigned view_bytes) noexcept {
  return view_bytes;
}

unsigned max_symbol_bits(unsigned view_bytes, unsigned sign_bits) noexcept {
  return view_bytes == 1 ? 8 - sign_bits : 14;
}

unsigned Plan::level_bits() const noexcept {
  return static_cast<unsigned>(std::bit_width(num_segment_levels - 1));
}

std::uint64_t Plan::num_segments() const noexcept {
  return segment_columns == 0 ? 0 : ceil_div(num_columns(), segment_columns);
}

std::vector<std::byte> serialize(const Plan& plan) {
  std::vector<std::byte> bytes(kLevelsAt + ceil_div(plan.column_levels.size() * kColumnLevelBits, 8));
  std::byte* const dst = bytes.data();
  const auto put = [&](std::size_t offset, unsigned value) { store(dst + offset, static_cast<std::uint8_t>(value)); };
  const auto put_16 = [&](std::size_t offset, std::uint32_t value) {
    store(dst + offset, static_cast<std::uint16_t>(value));
  };
  put(kViewBytesAt, plan.view_bytes);
  put(kSignBitsAt, plan.sign_bits);
  put(kSymbolBitsAt, plan.symbol_bits);
  put(kDroppedBitsAt, plan.dropped_bits);
  put(kScaleBitsAt, plan.scale_bits);
  put(kHasEscapesAt, plan.has_escapes ? 1 : 0);
  put(kNumSegmentLevelsAt, plan.num_segment_levels);
  put(kNumColumnLevelsAt, plan.num_column_levels);
  put_16(kNumSymbolsAt, plan.num_symbols());
  put_16(kNumFirstAt, plan.runs.num_first);
  put_16(kFirstSymbolAt, plan.runs.first_symbol);
  put_16(kSecondSymbolAt, plan.runs.second_symbol);
  store(dst + kSegmentColumnsAt, plan.segment_columns);
  store(dst + kPeriodAt, static_cast<std::uint32_t>(plan.column_levels.size()));
  for (std::size_t i = 0; i < plan.column_levels.size(); ++i)
    store_bits(dst + kLevelsAt, i * kColumnLevelBits, kColumnLevelBits, plan.column_levels[i]);
  const std::vector<std::byte> tables = write_tables(plan.frequencies);
  bytes.insert(bytes.end(), tables.begin(), tables.end());
  return bytes;
}

Result<Plan> parse(Bytes bytes, std::uint64_t row_bytes) {
  if (bytes.size() < kLevelsAt) return corrupt("rans plan: " + std::to_string(bytes.size()) + " bytes are too few");
  Plan plan;
  plan.row_bytes = row_bytes;
  if (row_bytes == 0 || row_bytes > kMaxRowBytes) return bad_field("row_bytes", row_bytes);
  STILLBIT_CHECK(parse_words(bytes, plan));
  STILLBIT_CHECK(parse_levels(bytes, plan));
  const auto get_16 = [&](std::size_t offset) -> unsigned { return load<std::uint16_t>(bytes.data() + offset); };
  const unsigned num_symbols = get_16(kNumSymbolsAt);
  if (num_symbols <= (plan.has_escapes ? 1U : 0U) || num_symbols > kMaxSymbols)
    return bad_field("num_symbols", num_symbols);
  plan.runs = {get_16(kNumFirstAt), get_16(kFirstSymbolAt), get_16(kSecondSymbolAt)};
  if (plan.runs.num_first > num_symbols) return bad_field("num_first", plan.runs.num_first);
  if (plan.runs.first_symbol >> plan.symbol_bits != 0) return bad_field("first_symbol", plan.runs.first_symbol);
  if (plan.runs.second_symbol >> plan.symbol_bits != 0) return bad_field("second_symbol", plan.runs.second_symbol);

  const std::size_t tables_at = kLevelsAt + ceil_div(plan.column_levels.size() * kColumnLevelBits, 8);
  const unsigned num_tables = plan.num_segment_levels + plan.num_column_levels - 1;
  TableFault fault{};
  auto tables = read_tables(bytes.subspan(tables_at), num_tables, num_symbols, plan.scale_bits, fault);
  if (!tables) return bad_tables(fault);
  plan.frequencies = std::move(*tables);
  return plan;
}

std::uint64_t minimum_row_bytes(const Plan& plan) noexcept {
  const std::uint64_t fixed_bytes = ceil_div(plan.num_columns() * plan.fixed_bits(), 8);
  return kStateBytes + (plan.has_escapes ? 2 : 0) + ceil_div(plan.num_segments() * plan.level_bits(), 8) +
         (fixed_bytes > kSeedBytes ? fixed_bytes - kSeedBytes : 0);
}

RowLayoutStorage::RowLayoutStorage(const Plan& plan) {
  lay_out_words(plan);
  lay_out_row(plan);
  make_tables(plan);
}

void RowLayoutStorage::lay_out_words(const Plan& plan) {
  const unsigned word_bits = 8 * plan.view_bytes;
  WordShape& shape = layout_.shape;
  shape.fixed_bits = plan.fixed_bits();
  shape.sign_bits = plan.sign_bits;
  shape.dropped_bits = plan.dropped_bits;
  shape.symbol_bits = plan.symbol_bits;
  shape.symbol_at = plan.symbol_at();
  // Without a sign there is nothing to shift: any shift that is defined will do.
  shape.sign_shift = plan.sign_bits == 0 ? 0 : word_bits - shape.fixed_bits;
  shape.rest_mask = low_mask(shape.fixed_bits - plan.sign_bits);
  shape.sign_mask = plan.sign_bits == 0 ? 0 : std::uint64_t{1} << (word_bits - 1);
  shape.forbidden = low_mask(plan.dropped_bits);
  shape.symbol_mask = low_mask(plan.symbol_bits);

  // The sign gets to its place with the byte that it is in, unless there are bits of the rest in that byte.
  const bool is_sign_apart = shape.symbol_at + 8 <= word_bits;
  layout_.unpacks_sign = plan.sign_bits == 0 || is_sign_apart;
  layout_.unpacked_mask = shape.rest_mask << shape.dropped_bits | (layout_.unpacks_sign ? shape.sign_mask : 0);
  layout_.unpacking = fields::unpacking_for({.word_bytes = plan.view_bytes,
                                             .field_bits = shape.fixed_bits,
                                             .place = shape.dropped_bits,
                                             .ends_on_top = plan.sign_bits != 0 && is_sign_apart});
}

void RowLayoutStorage::lay_out_row(const Plan& plan) {
  const std::uint64_t num_columns = plan.num_columns();
  layout_.row_bytes = plan.row_bytes;
  layout_.num_columns = num_columns;
  layout_.scale_bits = plan.scale_bits;
  layout_.runs = plan.runs;
  layout_.has_escapes = plan.has_escapes;
  layout_.escape_index = plan.num_symbols() - 1;
  layout_.symbol_size = plan.symbol_size();
  layout_.num_levels = plan.num_segment_levels;
  layout_.level_bits = plan.level_bits();
  layout_.segment_columns = plan.segment_columns;
  layout_.num_segments = plan.num_segments();
  layout_.levels_at = kStateBytes + (plan.has_escapes ? 2 : 0);
  layout_.fixed_at = layout_.levels_at + ceil_div(layout_.num_segments * layout_.level_bits, 8);
  layout_.fixed_bytes = ceil_div(num_columns * plan.fixed_bits(), 8);
  layout_.stored_bytes = layout_.fixed_bytes > kSeedBytes ? layout_.fixed_bytes - kSeedBytes : 0;
  layout_.minimum_row_bytes = layout_.fixed_at + layout_.stored_bytes;
  layout_.head_columns = layout_.fixed_bytes == 0
                             ? num_columns
                             : layout_.stored_bytes * 8 / plan.fixed_bits() / kBlockColumns * kBlockColumns;
  if (!plan.column_levels.empty()) {
    column_levels_.resize(num_columns + kPadding);
    for (std::uint64_t i = 0; i < num_columns; ++i)
      column_levels_[i] = plan.column_levels[i % plan.column_levels.size()];
    layout_.column_levels = column_levels_.data();
  }
}

void RowLayoutStorage::make_tables(const Plan& plan) {
  const std::uint64_t num_slots = std::uint64_t{1} << plan.scale_bits;
  const std::uint64_t num_tables = plan.frequencies.size();
  slots_.resize(num_tables * num_slots);
  coded_.resize(num_tables * kMaxSymbols);
  for (std::uint64_t table = 0; table < num_tables; ++table) {
    std::uint32_t begin = 0;
    for (std::uint32_t index = 0; index < plan.num_symbols(); ++index) {
      const std::uint32_t frequency = plan.frequencies[table][index];
      if (frequency == 0) continue;
      for (std::uint32_t place = 0; place < frequency; ++place)
        slots_[table * num_slots + begin + place] = slot_of(index, frequency, place);
      const std::uint64_t reciprocal = (std::uint64_t{1} << (32 + plan.scale_bits)) / frequency + 1;
      coded_[table * kMaxSymbols + index] = {reciprocal, frequency, begin};
      begin += frequency;
    }
  }
  layout_.slots = slots_.data();
  layout_.coded = coded_.data();

  const std::uint32_t num_coded = plan.num_symbols() - (plan.has_escapes ? 1 : 0);
  index_of_symbol_.assign(std::size_t{1} << plan.symbol_bits,
                          plan.has_escapes ? static_cast<std::uint16_t>(layout_.escape_index) : kNoIndex);
  for (std::uint32_t index = num_coded; index-- > 0;)
    index_of_symbol_[symbol_at_index(plan.runs, index) & layout_.shape.symbol_mask] = static_cast<std::uint16_t>(index);
  layout_.index_of_symbol = index_of_symbol_.data();

  if (plan.num_segment_levels == 1) return;
  // In 64ths of a bit. A symbol that a table lacks is an escape, or cannot be: the sum for a segment of 65,536 such
  // columns still fits into 32 bits.
  constexpr double kParts = 64;
  constexpr std::uint16_t kForbidden = 0xFFFF;
  costs_.assign(std::size_t{kMaxSymbols} * kCostLevels, kForbidden);
  for (std::uint64_t table = 0; table < num_tables; ++table) {
    const auto cost_of = [&](std::uint32_t index) {
      return kParts * (plan.scale_bits - std::log2(plan.frequencies[table][index]));
    };
    const bool can_escape = plan.has_escapes && plan.frequencies[table][layout_.escape_index] > 0;
    for (std::uint32_t index = 0; index < plan.num_symbols(); ++index) {
      std::uint16_t& cost = costs_[std::size_t{index} * kCostLevels + table];
      if (plan.frequencies[table][index] > 0) {
        cost = static_cast<std::uint16_t>(cost_of(index));
      } else if (can_escape) {
        cost = static_cast<std::uint16_t>(cost_of(layout_.escape_index) + kParts * 8 * plan.symbol_size());
      }
    }
  }
  layout_.costs = costs_.data();
}

}  // namespace stillbit::rans
