#pragma once

#include <stillbit/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stillbit::testing {

/// One bag, pooled element by element in plain arithmetic: the element at `column` of the result, as bits. `rows` are
/// those that are not left out; `weights` has an element for each, or is empty. `has_padding` says whether the bag was
/// looked through for padding, which decides about two roundings.
std::uint64_t pooled_element(DType dtype, PoolMode mode, const std::vector<const std::byte*>& rows,
                             const std::vector<std::uint64_t>& weights, bool has_padding, std::uint64_t column);

/// The bits of an element.
std::uint64_t element_bits(DType dtype, const std::byte* row, std::uint64_t column);

}  // namespace stillbit::testing
