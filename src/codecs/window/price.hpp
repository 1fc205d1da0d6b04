#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace stillbit::window {

/// The values of one view of some words (spec.md), as differences from their middle, modulo 2^value_bits: -2^63 to
/// 2^63 - 1 where all 64 bits are used. Words in which a bit is set that would be dropped are left out and counted.
struct Differences {
  unsigned value_bits = 0;
  std::uint64_t middle = 0;
  std::vector<std::int64_t> values;
  std::uint64_t num_left_out = 0;
};

/// How words are seen.
struct View {
  unsigned view_bytes = 0;
  bool is_signed = false;
  unsigned dropped_bits = 0;

  [[nodiscard]] unsigned word_bits() const noexcept { return 8 * view_bytes; }
  [[nodiscard]] unsigned value_bits() const noexcept { return word_bits() - dropped_bits; }
};

/// Numbers of bits that are worth a try to drop: those that are zero in nearly all words, and those that save the most
/// in fields against the words that are exceptions then. (What is saved may be less: fields need not be as wide as
/// words.)
[[nodiscard]] std::vector<unsigned> droppable_bits(std::span<const std::uint64_t> words, unsigned word_bits);

/// Precondition: there are words.
[[nodiscard]] Differences differences_of(std::span<const std::uint64_t> words, const View& view);

/// A window on differences, and the bits that fields and exceptions take for all words.
struct Window {
  unsigned field_bits = 0;
  std::int64_t base = 0;
  double num_bits = 0;
};

/// The cheapest window for all words.
[[nodiscard]] Window cheapest_window(const Differences& differences, const View& view);

}  // namespace stillbit::window
