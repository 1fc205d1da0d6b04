#pragma once

#include <stillbit/dtype.hpp>
#include <stillbit/options.hpp>
#include <stillbit/statistics.hpp>
#include <stillbit/tensor.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace stillbit {

/// How rows are going to be stored: the codec with its masks and tables, and where rows lie. Made once, from a tensor
/// or a sample of it, and followed by any number of tensors with such rows (`CompressOptions::plan`): chunks of a
/// table, shards of it in other processes, the table of tomorrow. Immutable; cheap to copy.
///
/// Whatever a plan says, what follows it is lossless: a row that breaks it is stored raw, and a tensor that it would
/// make larger is stored raw as a whole.
class Plan {
 public:
  [[nodiscard]] DType dtype() const noexcept;
  /// The dimensions of a row.
  [[nodiscard]] const std::vector<std::uint64_t>& row_shape() const noexcept;
  [[nodiscard]] std::uint64_t row_bytes() const noexcept;

  [[nodiscard]] Codec codec() const noexcept;
  [[nodiscard]] Packing packing() const noexcept;
  [[nodiscard]] Objective objective() const noexcept;

  /// Rows of the tensor that it was made and priced for.
  [[nodiscard]] std::uint64_t num_rows() const noexcept;
  /// What each codec that was considered would take for that many rows.
  [[nodiscard]] const std::vector<CodecPrice>& prices() const noexcept;

  /// Bytes that are encoded as one: those of a row, of several short ones, or of a part of a long one.
  [[nodiscard]] std::uint64_t tile_bytes() const noexcept;
  /// Bytes of a slot; 0 when packed.
  [[nodiscard]] std::uint64_t stride() const noexcept;
  /// Bytes of the codec's masks and tables, which every payload has.
  [[nodiscard]] std::uint64_t plan_bytes() const noexcept;
  /// Whether rows that repeat an earlier one are left out.
  [[nodiscard]] bool stores_repeats_once() const noexcept;

  /// As text, to be kept or sent elsewhere.
  [[nodiscard]] std::string to_json() const;
  /// Throws kCorrupt when the text is none that `to_json` returned.
  [[nodiscard]] static Plan from_json(std::string_view text);

  struct Impl;
  explicit Plan(std::shared_ptr<const Impl> impl) noexcept;
  [[nodiscard]] const Impl& impl() const noexcept { return *impl_; }
  [[nodiscard]] std::shared_ptr<const Impl> shared() const noexcept { return impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

/// What is known of all rows, where a plan is made from some of them.
struct AllRows {
  std::uint64_t num_rows = 0;

  /// Of all of them: only these can say which bits never deviate. Without them codec `ibp` trusts the sample, and
  /// stores the rows raw in which such a bit does deviate.
  const BitStatistics* statistics = nullptr;
};

/// The plan that `compress` would follow. `options.plan` and `options.progress` are not looked at.
[[nodiscard]] Plan plan(const TensorView& tensor, const CompressOptions& options = {});

/// A plan for a tensor that is never in one place, from some of its rows: a few MiB, spread over it. Rows that repeat
/// are not stored once, since they may be far apart.
[[nodiscard]] Plan plan(const TensorView& sample, const CompressOptions& options, const AllRows& all);

}  // namespace stillbit
