// What is measured: a codec of this library, or another compressor, on one tensor.

#pragma once

#include "bench/cases.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stillbit::bench {

/// Something to time, on one tensor.
struct Operation {
  std::string name;     ///< "compress", "compress_anew", "decompress" or "gather"
  std::string packing;  ///< empty for compressors that have none

  /// Makes what `run` needs and compares its results with the original; again, it does nothing. Returns why there is
  /// nothing to time, if so.
  std::function<std::optional<std::string>(Data& data)> prepare;

  /// Returns how many raw bytes that were.
  std::function<std::uint64_t(Data& data, unsigned num_threads)> run;

  /// Raw bytes over stored bytes.
  std::function<double()> ratio;
};

class Subject {
 public:
  virtual ~Subject() = default;
  [[nodiscard]] virtual std::string name() const = 0;

  /// They refer to the subject, and are for one tensor of this case.
  [[nodiscard]] virtual std::vector<Operation> operations(const Case& which) = 0;

  /// Frees what was made for a tensor.
  virtual void reset() = 0;
};

/// The codecs that the library has, in the order of their numbers. Those that store a tensor raw say so in `prepare`.
std::vector<std::unique_ptr<Subject>> codecs();

/// zstd -3, lz4, and bitshuffle with lz4, on blocks of 4 MiB.
std::vector<std::unique_ptr<Subject>> peers();

}  // namespace stillbit::bench
