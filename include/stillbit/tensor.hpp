#pragma once

#include <stillbit/dtype.hpp>
#include <stillbit/options.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace stillbit {

struct Bags;

/// A dense tensor in C order, somewhere in memory; not owned.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> shape;  ///< outermost dimension first; empty for a scalar
};

/// What is known of a tensor without decompressing it.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> shape;
  std::optional<Codec> codec;  ///< none in an ordinary, uncompressed file
  std::optional<Packing> packing;
  std::uint64_t raw_bytes = 0;       ///< of the tensor itself
  std::uint64_t stored_bytes = 0;    ///< of all that is stored for it
  std::uint64_t metadata_bytes = 0;  ///< of stored_bytes, what is not rows: header, masks, row index, alignment
  double transfer_ratio = 1;         ///< see CompressedTensor::transfer_ratio
  std::vector<CodecPrice> prices;    ///< of the codecs that the planner considered, as its objective would have them;
                                     ///< empty where none was kept

  [[nodiscard]] double ratio() const noexcept {
    return stored_bytes == 0 ? 1.0 : static_cast<double>(raw_bytes) / static_cast<double>(stored_bytes);
  }
};

/// A tensor kept losslessly compressed, row by row.
///
/// Made by `compress` or by `load`. Reading is safe from many threads at once; `update`, `append` and `compact` need
/// the tensor for themselves. Every function throws `stillbit::Error` or `std::bad_alloc`; after an exception the
/// tensor is as it was before.
class CompressedTensor {
 public:
  CompressedTensor(CompressedTensor&&) noexcept;
  CompressedTensor& operator=(CompressedTensor&&) noexcept;
  ~CompressedTensor();

  [[nodiscard]] DType dtype() const noexcept;
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const noexcept;

  /// Rows, the unit of random access: the product of all dimensions but the last `row_dims`.
  [[nodiscard]] std::uint64_t num_rows() const noexcept;
  [[nodiscard]] std::uint64_t row_bytes() const noexcept;
  /// How many of the last dimensions make a row.
  [[nodiscard]] unsigned row_dims() const noexcept;

  [[nodiscard]] Codec codec() const noexcept;
  [[nodiscard]] Packing packing() const noexcept;

  [[nodiscard]] std::uint64_t raw_bytes() const noexcept;
  /// Everything that is stored for the tensor, as in a file: header, masks, index, rows, padding.
  [[nodiscard]] std::uint64_t stored_bytes() const noexcept;
  [[nodiscard]] std::uint64_t metadata_bytes() const noexcept;

  /// raw_bytes / stored_bytes: how much smaller it is.
  [[nodiscard]] double ratio() const noexcept;

  /// 32-byte memory sectors that reading a raw row touches, over those that reading it compressed touches: how many
  /// fewer bytes cross a bus in a gather. The mean over all rows, or over 65,536 of them spread over a larger tensor.
  [[nodiscard]] double transfer_ratio() const;

  /// All of it in one, without a name.
  [[nodiscard]] TensorInfo info() const;

  /// Expands the whole tensor into `out`, which has exactly raw_bytes() bytes. `num_threads` 0 is all processors.
  void decompress(std::span<std::byte> out, unsigned num_threads = 0) const;

  /// The same, and throws kCorrupt where the checksum of what was expanded is not the one that was taken of the tensor;
  /// after `update` or `append`, which make that out of date, it is not compared.
  void decompress_verified(std::span<std::byte> out, unsigned num_threads = 0) const;

  /// Expands rows index[0], index[1] … into `out`, back to back: index.size() × row_bytes() bytes.
  /// Throws kOutOfRange, and writes nothing, when an index is negative or not below num_rows().
  void gather(std::span<const std::int64_t> index, std::span<std::byte> out, unsigned num_threads = 0) const;
  void gather(std::span<const std::int32_t> index, std::span<std::byte> out, unsigned num_threads = 0) const;

  /// Expands the rows of bags and pools them into `out`, back to back: bags.num_bags() × row_bytes() bytes. See `pool`
  /// (stillbit/pool.hpp), which does so for several tensors at once.
  void pool(const Bags& bags, std::span<std::byte> out, unsigned num_threads = 0) const;

  /// Replaces rows index[0], index[1] … by rows that lie back to back; of a row named twice the last is kept. Slotted
  /// tensors in memory only. The plan stays as it is: rows unlike those it was made for take more space.
  void update(std::span<const std::int64_t> index, std::span<const std::byte> rows);
  void update(std::span<const std::int32_t> index, std::span<const std::byte> rows);

  /// Adds rows at the end; the first dimension grows. Slotted tensors in memory only.
  void append(std::span<const std::byte> rows);

  /// Frees what rewritten rows left behind in the overflow area. `update` does so itself when half of it is unused.
  void compact();

  /// Checks the checksums: of what is stored (when it is mapped from a file), and of what it expands to; after `update`
  /// or `append`, which make the latter out of date, only that every row expands. Throws kCorrupt otherwise.
  void verify(unsigned num_threads = 0) const;

  /// Checks the checksum of what is stored, when it is mapped from a file: nothing is expanded. Throws kCorrupt
  /// otherwise.
  void verify_stored(unsigned num_threads = 0) const;

  struct Impl;
  explicit CompressedTensor(std::unique_ptr<Impl> impl) noexcept;
  [[nodiscard]] const Impl& impl() const noexcept { return *impl_; }
  [[nodiscard]] static std::unique_ptr<Impl> release(CompressedTensor&& tensor) noexcept;

 private:
  std::unique_ptr<Impl> impl_;
};

/// Compresses a tensor in memory. What does not become smaller is stored raw, with codec() == Codec::kRaw.
[[nodiscard]] CompressedTensor compress(const TensorView& tensor, const CompressOptions& options = {});

/// The same, in the memory of a tensor that is no longer needed, as far as it fits: memory that is new to the process
/// takes the system longer to clear than compressing into it takes. `reuse` is empty afterwards: it can only be
/// destroyed or assigned to.
[[nodiscard]] CompressedTensor compress(const TensorView& tensor, const CompressOptions& options,
                                        CompressedTensor&& reuse);

/// A tensor, and where it is to be expanded.
struct DecompressRequest {
  const CompressedTensor* tensor = nullptr;
  std::span<std::byte> out;  ///< exactly tensor->raw_bytes() bytes

  /// The memory is new to the process: its pages are taken from the system before they are written, many at a time.
  bool is_new_memory = false;
};

/// Expands many tensors in one call: threads are shared by all, small tensors are dealt out whole and large ones in
/// parts. Throws as CompressedTensor::decompress does, naming the tensor by its position, from 0 on; nothing is written
/// when a size does not fit. `num_threads` 0 is all processors.
void decompress(std::span<const DecompressRequest> requests, unsigned num_threads = 0);

/// The same, and compares checksums, as CompressedTensor::decompress_verified does.
void decompress_verified(std::span<const DecompressRequest> requests, unsigned num_threads = 0);

}  // namespace stillbit
