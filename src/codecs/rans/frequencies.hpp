#pragma once

#include "core/bytes.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace stillbit::rans {

/// How many of 2^scale_bits slots each symbol has.
using Frequencies = std::vector<std::uint16_t>;

/// Frequencies with the sum 2^scale_bits, none of them 0 where the count is not, that make the code of so many symbols
/// nearly as short as it can be. Precondition: at most 2^scale_bits counts are not 0, and one at least.
[[nodiscard]] Frequencies normalized(std::span<const double> counts, unsigned scale_bits);

/// Bits that symbols counted so often take.
[[nodiscard]] double coded_bits(std::span<const double> counts, const Frequencies& frequencies, unsigned scale_bits);

/// Bits that a table takes in a plan.
[[nodiscard]] std::uint64_t stored_bits(const Frequencies& frequencies) noexcept;

/// Writes tables one after the other, `stored_bits` bits each, to a whole number of bytes.
[[nodiscard]] std::vector<std::byte> write_tables(std::span<const Frequencies> tables);

/// Why tables cannot be read.
enum class TableFault { kTooShort, kFrequency, kSum, kTooLong };

/// Reads tables that fill `bytes`, up to the last byte. Nothing, and `fault`, when they do not, or when frequencies are
/// above 2^scale_bits or have another sum.
[[nodiscard]] std::optional<std::vector<Frequencies>> read_tables(Bytes bytes, unsigned num_tables,
                                                                  unsigned num_symbols, unsigned scale_bits,
                                                                  TableFault& fault);

}  // namespace stillbit::rans
