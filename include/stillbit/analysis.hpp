#pragma once

#include <stillbit/file.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace stillbit {

/// What bits that are stored for a tensor are for.
enum class BitUse : std::uint8_t {
  kValues,      ///< bits as they are: mantissas and signs, the bits that are not invariant
  kCodes,       ///< short codes, and offsets from a base
  kExceptions,  ///< what elements take that are unlike the others: patches, escapes, misses
  kMarks,       ///< participation bits: which elements have the invariant bits
  kPositions,   ///< where elements are that are not the background
  kRawRows,     ///< rows that are stored as they are
  kPlan,        ///< the codec's masks and tables
  kMap,         ///< which stored row each row is, where rows repeat
  kIndex,       ///< where each row starts
  kSlots,       ///< tags of slots, and places of what does not fit into them
  kPadding,     ///< up to whole bytes, slots and sections
  kHeader,      ///< dtype, shape, sizes, checksums
};
inline constexpr unsigned kNumBitUses = 12;

/// "values", "codes" …
[[nodiscard]] std::string_view name(BitUse use) noexcept;

/// How often each bit of an element is the same, in parts of a tensor: next to nothing travels for a bit that always
/// is.
struct Invariance {
  /// Whether rows are so few or so long that columns say nothing: a part is then a stretch of the tensor, from its
  /// first element to its last, and the bits of all its elements are compared. Otherwise it is a column or several
  /// neighbouring ones, the bits of each column are compared over all rows, and several columns are averaged.
  bool is_by_stretch = false;

  unsigned num_bits = 0;               ///< of an element
  std::uint64_t num_columns = 0;       ///< of the tensor; of stretches, its elements
  std::uint64_t columns_per_part = 1;  ///< the last part may have fewer
  std::uint64_t num_parts = 0;

  /// Share of elements that have the commoner value of the bit, 0.5 to 1: `num_bits` of the first part, the lowest bit
  /// first, then of the next …
  std::vector<float> shares;
};

/// An exponent, and what elements with it take.
struct ExponentUse {
  unsigned exponent = 0;    ///< as it stands in the element; of an integer, the bits that its magnitude needs
  std::uint64_t count = 0;  ///< elements in the sample
  double stored_bits = 0;   ///< that one takes in the codec's rows, on average
};

/// The exponents of a tensor, and the entropy bound that follows from them.
struct Exponents {
  bool is_integer = false;
  unsigned word_bits = 0;         ///< of a number: an element, or half of a complex one
  unsigned exponent_bits = 0;     ///< of floats
  int bias = 0;                   ///< exponent − bias is the power of two; of integers 0
  std::vector<ExponentUse> uses;  ///< those that occur, in order

  /// Bits a number of the order-0 entropy of exponents …
  double entropy_bits = 0;
  /// … and of the rest, as it is: mantissa and sign, or the bits below an integer's highest and its sign.
  double rest_bits = 0;
};

/// What is known of a tensor, and where its bits go.
struct TensorAnalysis {
  /// Of an ordinary file: what compressing it would make of it, as the planner expects.
  TensorInfo info;

  std::uint64_t num_rows = 0;
  std::uint64_t row_bytes = 0;
  std::uint64_t tile_bytes = 0;   ///< that are encoded as one
  std::uint64_t num_repeats = 0;  ///< rows that are not stored because they equal another

  /// The number of an earlier tensor that is equal, and stored for both.
  std::optional<std::size_t> same_as;

  /// Whether `info.stored_bytes` is what the planner expects, rather than what it is.
  bool is_estimate = false;

  /// Bytes of the tensor that were looked at for what follows; below `info.raw_bytes` its parts are estimates.
  std::uint64_t sampled_bytes = 0;

  /// By BitUse; they add up to 8 × `info.stored_bytes`. What sections take is exact, and what is in rows is that of the
  /// sample, scaled to the rows.
  std::array<std::uint64_t, kNumBitUses> bits{};

  Invariance invariance;
  Exponents exponents;
};

struct FileAnalysis {
  bool is_compressed = false;
  std::vector<TensorAnalysis> tensors;
  std::uint64_t file_bytes = 0;
  std::uint64_t raw_bytes = 0;
  std::uint64_t stored_bytes = 0;  ///< of the tensors; what equal ones share is counted once
  std::map<std::string, std::string> metadata;
};

struct AnalyzeOptions {
  /// How tensors of an ordinary file would be compressed. `max_sample_bytes` is an upper bound: of files of many
  /// tensors less is looked at. `plan` is not. `num_threads` and `progress` are for compressed files, too; the bytes
  /// reported add up to `total_bytes`.
  CompressOptions tensor{.packing = Packing::kPacked};

  /// Reads the elements of an ordinary file as this dtype of the same width.
  std::optional<DType> as = {};
};

/// Looks at where the bits of a file go: of a compressed one as they are, of an ordinary one (.npy, .safetensors,
/// .safetensors.index.json) as compressing it would store them. Looks at samples, so that a model of many gigabytes
/// takes seconds, and memory that does not grow with it. (Bits of all rows are counted where codec ibp is chosen, and
/// repeated rows are looked for where a sample has them, as `compress` does.) The error names the file and the tensor.
[[nodiscard]] FileAnalysis analyze_file(const std::filesystem::path& path, const AnalyzeOptions& options = {});

}  // namespace stillbit
