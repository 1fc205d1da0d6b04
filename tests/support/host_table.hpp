#pragma once

#include "cuda/pieces.hpp"
#include "tests/support/rows.hpp"
#include "warp/pool.hpp"

#include <stillbit/pool.hpp>
#include <stillbit/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace stillbit::testing {

/// Memory that starts at a multiple of warp::kSectionAlignment and ends where a warp may read no further.
class SectionMemory {
 public:
  SectionMemory() = default;
  explicit SectionMemory(std::span<const std::byte> bytes, std::uint64_t slack = warp::kSectionSlack);
  SectionMemory(SectionMemory&& other) noexcept;
  SectionMemory& operator=(SectionMemory&& other) noexcept;
  ~SectionMemory();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  std::byte* data_ = nullptr;
};

/// What a warp expands a stored row to that is not raw; nothing when it is malformed.
std::optional<Row> expanded_by_warp(const RowCodec& codec, const Row& stored, std::uint64_t row_bytes);

/// How warps are set up.
struct WarpSetup {
  std::uint64_t num_warps = 3;
  std::uint32_t num_stages = 3;
  std::uint32_t batch_items = 32;
};

/// A compressed tensor as a GPU has it, and the warps of a GPU played by this thread.
class HostTable {
 public:
  explicit HostTable(const CompressedTensor& tensor);

  /// The whole tensor into `out`.
  warp::Status expand(std::byte* out, const WarpSetup& setup = {}) const;

  /// The tiles of a piece of the rows section that was moved elsewhere, into the whole tensor's `out`.
  warp::Status expand_piece(const cuda::Piece& piece, std::span<const std::byte> moved, std::byte* out) const;

  /// Rows into `out`: row index[i] becomes row positions[i], or row i where there are no positions.
  template <class Index>
  warp::Status gather(std::span<const Index> index, std::byte* out, const WarpSetup& setup = {},
                      const std::int64_t* positions = nullptr) const;

  /// Where warps find the table and its bags, whose results go to `out`, `out_stride` bytes apart.
  [[nodiscard]] warp::BagTable bags(const Bags& bags, std::byte* out, std::uint64_t out_stride,
                                    warp::Status* status) const;

  /// Has rows lie raw in nearer memory, which stays the caller's.
  void set_fast_rows(const std::uint32_t* slots, const std::byte* rows, std::uint64_t num_fast_rows) {
    table_.fast_slots = slots;
    table_.fast_rows = rows;
    table_.num_fast_rows = num_fast_rows;
  }

  [[nodiscard]] const warp::Table& table() const { return table_; }
  [[nodiscard]] Codec codec() const { return codec_; }
  [[nodiscard]] unsigned view_bytes() const { return view_bytes_; }

 private:
  warp::Status run(const warp::Table& table, warp::Request request, const WarpSetup& setup) const;

  Codec codec_;
  DType dtype_;
  unsigned view_bytes_ = 1;
  SectionMemory plan_;
  SectionMemory map_;
  SectionMemory index_;
  SectionMemory rows_;
  SectionMemory overflow_;
  warp::Table table_;
};

/// Pools the bags of tables of one codec and words of one size, in one launch of warps.
void pool_by_warps(std::vector<warp::BagTable> tables, Codec codec, unsigned view_bytes, const WarpSetup& setup = {});

}  // namespace stillbit::testing
