#pragma once

#include <stillbit/file.hpp>
#include <stillbit/options.hpp>
#include <stillbit/plan.hpp>
#include <stillbit/statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace stillbit {

/// A first look at a tensor that comes in chunks along its first dimension: what a plan needs to know of it, in memory
/// that does not grow with it.
class RowScan {
 public:
  /// `entry_shape` is the shape of one entry along the first dimension, of whose dimensions the last `row_dims` make a
  /// row. Throws kInvalidArgument when there are fewer, or an entry has no bytes.
  RowScan(DType dtype, std::vector<std::uint64_t> entry_shape, unsigned row_dims, unsigned num_threads = 0);
  RowScan(RowScan&&) noexcept;
  RowScan& operator=(RowScan&&) noexcept;
  ~RowScan();

  /// Adds the next entries, back to back. Throws kInvalidArgument when these are not whole ones.
  void add(std::span<const std::byte> entries);

  /// Of all that was added: the first dimension is what has come.
  [[nodiscard]] DType dtype() const noexcept;
  [[nodiscard]] std::vector<std::uint64_t> shape() const;
  [[nodiscard]] unsigned row_dims() const noexcept;
  [[nodiscard]] std::uint64_t num_rows() const noexcept;
  [[nodiscard]] const BitStatistics& statistics() const noexcept;
  /// The format's checksum of it.
  [[nodiscard]] std::uint64_t checksum() const;

  /// Whole rows, spread over what was added: all of it, or 4 to 8 MiB (one row at least).
  [[nodiscard]] const std::vector<std::byte>& sample() const;

  /// A plan for it. `options.row_dims` and `options.progress` are not looked at.
  [[nodiscard]] Plan plan(const CompressOptions& options) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Compresses tensors to a file chunk by chunk, in memory that does not grow with them: each is looked at once by a
/// RowScan, and a second time here. Encoded rows go straight to their place, behind an index with room for rows of any
/// size, which is made smaller at the end where that saves 0.5 % of the file; rows that repeat are not stored once. The
/// file appears whole, at `commit`, or not at all.
class StreamWriter {
 public:
  StreamWriter(std::filesystem::path path, std::map<std::string, std::string> metadata, unsigned num_threads = 0,
               Progress progress = {});
  StreamWriter(StreamWriter&&) noexcept;
  StreamWriter& operator=(StreamWriter&&) noexcept;
  ~StreamWriter();

  /// Announces a tensor; all of them before the first is written. Throws kInvalidArgument when the plan is for other
  /// rows, or packs them otherwise than the tensor before.
  void declare(const std::string& name, const RowScan& scan, const Plan& plan);

  /// Starts to write a tensor: the next one that was declared, or the same once more where `end` has returned false.
  void begin();

  /// Adds its next entries, back to back. Throws kMismatch when there are more than the scan has seen.
  void write(std::span<const std::byte> entries);

  /// Ends it. False where the rows, against what the plan promised, took more than they do as they are: write them once
  /// more, and they are stored raw. Throws kMismatch when they are not those that the scan has seen.
  [[nodiscard]] bool end();

  /// Gives the file its name. Throws kInvalidArgument when a tensor is missing.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stillbit
