#include "codecs/rans/account.hpp"

#include "core/bits.hpp"

#include <array>
#include <cmath>

namespace stillbit::rans {

void account(const Plan& plan, const StoredRow& row, RowAccount& account) {
  const RowLayoutStorage storage(plan);
  const RowLayout& layout = storage.layout();
  const std::uint64_t num_columns = layout.num_columns;
  std::array<std::uint32_t, kStates> states{};
  std::memcpy(states.data(), row.data, kStateBytes);
  const std::uint64_t num_escapes = plan.has_escapes ? load<std::uint16_t>(row.data + kStateBytes) : 0;
  const std::uint64_t escape_bits = 8 * plan.symbol_size();
  const std::byte* next = row.data + layout.minimum_row_bytes + num_escapes * plan.symbol_size();

  // A symbol takes what its frequency says; what the states have beyond the stream is shared by all of them.
  account.word_bits.assign(num_columns, static_cast<float>(plan.fixed_bits()));
  double coded_bits = 0;
  std::uint64_t stream_bits = 0;
  for (std::uint64_t i = 0; i < num_columns; ++i) {
    std::uint64_t table = layout.column_levels == nullptr ? 0 : layout.column_levels[i];
    if (layout.num_levels > 1)
      table +=
          load_bits(row.data + layout.levels_at, i / layout.segment_columns * layout.level_bits, layout.level_bits);
    std::uint32_t& state = states[i % kStates];
    const std::uint32_t place = state & ((1U << plan.scale_bits) - 1);
    const Slot slot = layout.slots[(table << plan.scale_bits) + place];
    state = advance(state, slot, plan.scale_bits);
    if (state < kLowestState) {
      state = state << kWordBits | load<std::uint16_t>(next);
      next += 2;
      stream_bits += kWordBits;
    }
    const double bits = plan.scale_bits - std::log2(plan.frequencies[table][index_of(slot)]);
    coded_bits += bits;
    account.word_bits[i] += static_cast<float>(bits);
    if (plan.has_escapes && index_of(slot) == layout.escape_index)
      account.word_bits[i] += static_cast<float>(escape_bits);
  }
  const std::uint64_t value_bits = num_columns * plan.fixed_bits();
  const std::uint64_t carried_bits = 8 * (layout.fixed_bytes - layout.stored_bytes);
  const std::uint64_t code_bits = 8 * kStateBytes - carried_bits + 8 * (layout.fixed_at - kStateBytes) + stream_bits;
  account.values += value_bits;
  account.codes += code_bits;
  account.exceptions += num_escapes * escape_bits;
  const auto others =
      static_cast<float>((static_cast<double>(code_bits) - coded_bits) / static_cast<double>(num_columns));
  for (float& bits : account.word_bits) bits += others;
}

}  // namespace stillbit::rans
