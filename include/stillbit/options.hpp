#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

namespace stillbit {

class Plan;

/// How a row's bits are coded. The numbers are those of the format.
enum class Codec : std::uint8_t {
  kRaw = 0,         ///< as it is
  kIbp = 1,         ///< invariant bit packing (src/codecs/ibp/spec.md)
  kWindow = 2,      ///< offsets from a base, in fields of fixed width (src/codecs/window/spec.md)
  kEscape = 3,      ///< short codes for common exponents, in tiers (src/codecs/escape/spec.md)
  kSparse = 4,      ///< places and values of what is not zero (src/codecs/sparse/spec.md)
  kDictionary = 5,  ///< a dictionary for each column (src/codecs/dictionary/spec.md)
  kRans = 6,        ///< entropy-coded first bits (src/codecs/rans/spec.md)
};

/// How rows lie in memory and in a file. The numbers are those of the format.
enum class Packing : std::uint8_t {
  kPacked = 0,   ///< back to back, with a row index: smallest; read-only
  kSlotted = 1,  ///< a slot of fixed stride for each row, found by a multiplication; rows can be updated and appended
};

/// What the choice of a codec makes as small as possible.
enum class Objective : std::uint8_t {
  kStorage,   ///< the bytes that are stored
  kTransfer,  ///< the bytes, in whole memory sectors, that gathering rows moves
  kSpeed,     ///< the time to expand the tensor, by what codecs were measured to take
  kSmallest,  ///< the bytes that are stored, however long rows then take to gather: for files at rest and for streams
};

/// What a tensor would take with a codec: the planner's estimate, exact for small tensors.
struct CodecPrice {
  Codec codec = Codec::kRaw;
  std::uint64_t stored_bytes = 0;
  bool operator==(const CodecPrice&) const = default;
};

[[nodiscard]] std::string_view name(Codec codec) noexcept;
[[nodiscard]] std::string_view name(Packing packing) noexcept;
[[nodiscard]] std::string_view name(Objective objective) noexcept;
[[nodiscard]] std::optional<Objective> objective_from_name(std::string_view name) noexcept;
[[nodiscard]] std::optional<Codec> codec_from_name(std::string_view name) noexcept;
[[nodiscard]] std::optional<Packing> packing_from_name(std::string_view name) noexcept;

/// Called with the number of bytes of raw tensor data that are newly done, from any thread and from several at once.
using Progress = std::function<void(std::uint64_t num_bytes)>;

struct CompressOptions {
  /// The codec to use; without one, whichever serves the objective best. A tensor that a codec does not make smaller is
  /// stored raw whatever was asked for.
  std::optional<Codec> codec = {};

  Objective objective = Objective::kStorage;

  /// Without one rows have slots, unless those would take more than 6 % (and 1 KiB) more than rows back to back, of
  /// which repeated ones are stored once: then the tensor is packed, with a tile for each row, and read-only. Rows
  /// below 256 bytes have slots in any case: to find them takes much of the time that it takes to gather them.
  std::optional<Packing> packing = {};

  /// How many of the last dimensions make a row, the unit of random access.
  unsigned row_dims = 1;

  /// Threads to use; 0 for all processors of the process.
  unsigned num_threads = 0;

  /// Codecs make their plans on a sample of at most this many bytes (one row at least), taken in runs of rows spread
  /// over the tensor, and are priced on one of four times as many: prices of smaller tensors are exact. Whatever the
  /// sample, the result is lossless; a smaller one may compress less.
  std::uint64_t max_sample_bytes = std::uint64_t{2} << 20;

  Progress progress = {};

  /// A plan to follow (plan.hpp); without one, one is made. It says codec, objective, packing and row_dims: those above
  /// are not looked at then. Throws kInvalidArgument when the tensor's rows have another dtype or shape.
  std::shared_ptr<const Plan> plan = {};
};

}  // namespace stillbit
