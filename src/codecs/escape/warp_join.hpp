#pragma once

#include "codecs/escape/warp_planes.hpp"

// How the words of a lane's eight columns are put together from fixed fields and symbols: as many at once as a register
// holds.

namespace stillbit::escape {

/// The symbols of eight columns, in the order in which CodeNibbles select them.
struct EightSymbols {
  std::uint32_t of_0415 = 0;
  std::uint32_t of_2637 = 0;

  [[nodiscard]] STILLBIT_WARP std::uint32_t first_four() const { return warp::byte_permute(of_0415, of_2637, 0x6420U); }
  [[nodiscard]] STILLBIT_WARP std::uint32_t last_four() const { return warp::byte_permute(of_0415, of_2637, 0x7531U); }

  /// The four that column `i` is one of, and its place there, in bits.
  [[nodiscard]] STILLBIT_WARP std::uint32_t four_with(unsigned i) const { return i % 4 < 2 ? of_0415 : of_2637; }
  [[nodiscard]] STILLBIT_WARP static constexpr unsigned place_of(unsigned i) { return 8 * (i % 2 * 2 + i / 4); }
};

/// Adds four bytes to four others.
STILLBIT_WARP std::uint32_t add_bytes(std::uint32_t a, std::uint32_t b) {
  return ((a & 0x7F7F7F7FU) + (b & 0x7F7F7F7FU)) ^ ((a ^ b) & 0x80808080U);
}

/// A number in all places of `kBits` bits of a register.
template <unsigned kBits>
STILLBIT_WARP std::uint32_t repeated(std::uint32_t number) {
  return number * (~std::uint32_t{0} / warp::low_mask(kBits));
}

/// Words of one, two or four bytes.
template <class Word>
class Join {
 public:
  static constexpr unsigned kParts = 2 * sizeof(Word);  ///< registers that eight words take

  /// The plan is read from memory: a few numbers of it are kept.
  STILLBIT_WARP Join(const WarpPlan& plan, const warp::ByteRun& row)
      : row_(row),
        rest_mask_(repeated<kWordBits>(static_cast<std::uint32_t>(plan.rest_mask))),
        sign_mask_(repeated<kWordBits>(static_cast<std::uint32_t>(plan.sign_mask))),
        kept_mask_(static_cast<std::uint32_t>(plan.kept_mask)),
        symbol_mask_(repeated<8>(plan.symbol_mask)),
        fixed_bits_(plan.fixed_bits),
        dropped_bits_(plan.dropped_bits),
        symbol_at_(plan.symbol_at),
        sign_shift_(plan.sign_shift),
        row_shift_(repeated<8>(row_shift_of(plan, row))),
        column_shifts_(plan.column_shifts_at == 0 ? nullptr
                                                  : reinterpret_cast<const std::byte*>(&plan) + plan.column_shifts_at) {
  }

  /// The words of eight columns of f32 or bf16, whose symbols are the exponents: a fixed field is whole bytes, and its
  /// first bit, the sign, has its place in the byte that the symbol begins in. Precondition: no shifts.
  STILLBIT_WARP void join_floats(std::uint32_t column, const EightSymbols& symbols,
                                 std::uint32_t (&parts)[kParts]) const;

  /// The words of eight columns, whatever the plan.
  STILLBIT_WARP void join(std::uint32_t column, const EightSymbols& symbols, std::uint32_t (&parts)[kParts]) const;

 private:
  static constexpr unsigned kWordBits = 8 * sizeof(Word);
  static constexpr unsigned kPartWords = 4 / sizeof(Word);

  [[nodiscard]] STILLBIT_WARP EightSymbols shifted(std::uint32_t column, const EightSymbols& symbols) const;

  /// The fixed fields of the columns that part `i` has, in their words' places. What is above them is anything.
  [[nodiscard]] STILLBIT_WARP std::uint32_t fixed_fields(std::uint32_t column, unsigned i) const;

  const warp::ByteRun& row_;
  std::uint32_t rest_mask_;  ///< these masks are of all words of a register
  std::uint32_t sign_mask_;
  std::uint32_t kept_mask_;
  std::uint32_t symbol_mask_;
  unsigned fixed_bits_;
  unsigned dropped_bits_;
  unsigned symbol_at_;
  unsigned sign_shift_;
  std::uint32_t row_shift_;
  const std::byte* column_shifts_;  ///< null: none
};

template <class Word>
STILLBIT_WARP void Join<Word>::join_floats(std::uint32_t column, const EightSymbols& symbols,
                                           std::uint32_t (&parts)[kParts]) const {
  constexpr unsigned kFieldBytes = sizeof(Word) - 1;
  constexpr unsigned kWords = 2 * kFieldBytes;  // of eight fields
  const std::uint32_t* const words = row_.words + row_.first_byte / 4 + column / 8 * kWords;
  std::uint32_t fields[kWords + 1] = {};
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kWords; ++i)
    fields[i] = warp::funnel_shift_right(words[i], words[i + 1], row_.first_byte * 8);
  if constexpr (sizeof(Word) == 2) {
    // Each byte twice: the upper one has the sign.
    const std::uint32_t fixed[4] = {warp::byte_permute(fields[0], 0, 0x1100), warp::byte_permute(fields[0], 0, 0x3322),
                                    warp::byte_permute(fields[1], 0, 0x1100), warp::byte_permute(fields[1], 0, 0x3322)};
    parts[0] = warp::select_bits(kept_mask_, fixed[0], symbols.of_0415 << 7);
    parts[1] = warp::select_bits(kept_mask_, fixed[1], symbols.of_2637 << 7);
    parts[2] = warp::select_bits(kept_mask_, fixed[2], symbols.of_0415 >> 1);
    parts[3] = warp::select_bits(kept_mask_, fixed[3], symbols.of_2637 >> 1);
  } else {
    STILLBIT_UNROLL
    for (unsigned i = 0; i < 8; ++i) {
      // Three bytes, and the last of them twice.
      const unsigned first = i * kFieldBytes;
      const std::uint32_t fixed =
          warp::byte_permute(fields[first / 4], fields[first / 4 + 1], 0x2210U + 0x1111U * (first % 4));
      const std::uint32_t four = symbols.four_with(i);
      constexpr unsigned kSymbolAt = 23;
      const unsigned at = EightSymbols::place_of(i);
      parts[i] =
          warp::select_bits(kept_mask_, fixed, at > kSymbolAt ? four >> (at - kSymbolAt) : four << (kSymbolAt - at));
    }
  }
}

template <class Word>
STILLBIT_WARP EightSymbols Join<Word>::shifted(std::uint32_t column, const EightSymbols& symbols) const {
  EightSymbols by{row_shift_, row_shift_};
  if (column_shifts_ != nullptr) {
    const warp::Vector<8> eight = *reinterpret_cast<const warp::Vector<8>*>(column_shifts_ + column);
    by.of_0415 = add_bytes(by.of_0415, warp::byte_permute(eight.parts[0], eight.parts[1], 0x5140U));
    by.of_2637 = add_bytes(by.of_2637, warp::byte_permute(eight.parts[0], eight.parts[1], 0x7362U));
  }
  return {add_bytes(symbols.of_0415, by.of_0415) & symbol_mask_, add_bytes(symbols.of_2637, by.of_2637) & symbol_mask_};
}

template <class Word>
STILLBIT_WARP std::uint32_t Join<Word>::fixed_fields(std::uint32_t column, unsigned i) const {
  std::uint32_t bits = row_.bits((column + i * kPartWords) * fixed_bits_, 32);
  std::uint32_t fields = bits;
  STILLBIT_UNROLL
  for (unsigned j = 1; j < kPartWords; ++j) {
    bits <<= kWordBits - fixed_bits_;
    fields = warp::select_bits(~std::uint32_t{0} << (j * kWordBits), bits, fields);
  }
  return fields;
}

template <class Word>
STILLBIT_WARP void Join<Word>::join(std::uint32_t column, const EightSymbols& symbols,
                                    std::uint32_t (&parts)[kParts]) const {
  const EightSymbols sums = shifted(column, symbols);
  STILLBIT_UNROLL
  for (unsigned i = 0; i < kParts; ++i) {
    std::uint32_t symbol = 0;
    if constexpr (sizeof(Word) == 1) {
      symbol = i == 0 ? sums.first_four() : sums.last_four();
    } else if constexpr (sizeof(Word) == 2) {
      symbol = sums.four_with(2 * i) >> EightSymbols::place_of(2 * i) & 0x00FF00FFU;
    } else {
      symbol = sums.four_with(i) >> EightSymbols::place_of(i) & 0xFFU;
    }
    const std::uint32_t fixed = fixed_fields(column, i);
    parts[i] = (fixed & rest_mask_) << dropped_bits_ | symbol << symbol_at_ | (fixed << sign_shift_ & sign_mask_);
  }
}

}  // namespace stillbit::escape
