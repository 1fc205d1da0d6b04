#pragma once

#include "core/result.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace stillbit::format {

/// The texts of a model's folder that say how its weights are stored (docs/format.md): its config.json, and the index
/// of its shards. What they hold besides stays as it is, and in order.

/// A config with the entry by which transformers finds how to load the weights. `dtype` is what that library calls the
/// dtype of the first weight that computes. An entry that is there, of weights that are quantized, is kept inside.
Result<std::string> with_quantization_entry(const std::string& config, const std::optional<std::string>& dtype);

/// The same config without it.
Result<std::string> without_quantization_entry(const std::string& config);

/// An index of shards that were compressed: where each payload is, and the bytes of all. What the index said of itself
/// is kept inside.
Result<std::string> compressed_index(const std::string& index, const std::map<std::string, std::string>& shard_of,
                                     std::uint64_t total_bytes);

/// The index of the same shards when they are expanded.
Result<std::string> expanded_index(const std::string& index, const std::map<std::string, std::string>& shard_of);

}  // namespace stillbit::format
