#pragma once

#include "codecs/codec.hpp"
#include "core/result.hpp"

#include <stillbit/plan.hpp>

#include <memory>
#include <string>
#include <vector>

namespace stillbit {

struct Plan::Impl {
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> row_shape;
  std::uint64_t row_bytes = 0;
  Packing packing = Packing::kPacked;
  Objective objective = Objective::kStorage;
  std::uint64_t num_rows = 0;
  std::uint64_t tile_bytes = 0;
  std::uint64_t stride = 0;
  bool stores_repeats_once = false;
  std::shared_ptr<const RowCodec> codec;  ///< with its plan
  std::vector<CodecPrice> prices;
};

/// Why a plan cannot be followed by rows of a dtype and a shape; nothing when it can.
Result<void> check_rows(const Plan::Impl& plan, DType dtype, std::span<const std::uint64_t> row_shape);

}  // namespace stillbit
