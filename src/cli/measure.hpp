#pragma once

#include <stillbit/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace stillbit::cli {

/// In 10^9 bytes of raw tensor per second, so that all of them compare. Medians.
struct Speeds {
  double memcpy = 0;
  double compress = 0;
  double decompress = 0;
  double raw_gather = 0;  ///< of random rows, prefetched, from the raw tensor
  double gather = 0;      ///< of the same rows, from the compressed tensor
};

/// What was measured of a tensor, on one device.
struct Measurement {
  std::string device;
  TensorInfo tensor;                  ///< raw and stored bytes are those of the rows that were measured
  std::uint64_t num_rows = 0;         ///< of the tensor
  std::uint64_t measured_rows = 0;    ///< fewer where memory is short: the first ones
  bool is_cache_resident = false;     ///< so small that all of it may stay in caches while it is measured
  std::optional<Speeds> speeds = {};  ///< none where there are no bytes
};

/// A tensor that is to be measured: where its bytes come from.
struct Subject {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> shape;

  /// Writes the first out.size() bytes of the raw tensor.
  std::function<void(std::span<std::byte> out)> read;

  /// Whether `read` can write less than the whole tensor.
  bool can_read_parts = false;
};

struct MeasureOptions {
  CompressOptions compress;      ///< `num_threads` is not 0
  std::uint64_t max_memory = 0;  ///< bytes that may be in use at once
  Progress progress = {};        ///< adds up to kMeasurePasses times the tensor's bytes
};

/// How often progress counts a tensor's bytes.
inline constexpr std::uint64_t kMeasurePasses = 6;

/// Compresses a tensor, checks that both ways back are exact, and only then takes times. Throws kMismatch when they are
/// not, kInvalidArgument when there is too little memory.
[[nodiscard]] Measurement measure(const Subject& subject, const MeasureOptions& options);

}  // namespace stillbit::cli
