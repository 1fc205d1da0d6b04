#pragma once

#include "api/compressed_tensor.hpp"
#include "core/result.hpp"
#include "warp/pool.hpp"

#include <stillbit/pool.hpp>

#include <optional>

namespace stillbit {

/// What a payload's header says of its sections, as warps read it; where they lie is for the caller to fill in.
/// Fails where a row is too long for a warp.
Result<warp::Table> warp_table(const format::PayloadHeader& header);

/// Items of a request for rows: each asks for as many tiles as a row may touch.
[[nodiscard]] std::uint32_t tiles_per_row(const warp::Table& table) noexcept;

/// What warps know of an element that can be pooled; nothing for others.
[[nodiscard]] std::optional<warp::Element> warp_element(DType dtype) noexcept;
[[nodiscard]] warp::Pooling warp_pooling(PoolMode mode) noexcept;

}  // namespace stillbit
