#include "tests/fuzz/read_file.hpp"

#include "files/analyze_tensor.hpp"
#include "api/compressed_tensor.hpp"
#include "files/tensor_file.hpp"

#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace stillbit::fuzz {
namespace {

/// Larger tensors may be right, but take too long to try millions of times.
constexpr std::uint64_t kMaxTensorBytes = std::uint64_t{1} << 20;

void insist(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

template <class T>
bool ok(const Result<T>& result) {
  insist(result.ok() || !result.fault().message.empty(), "a fault has no message");
  return result.ok();
}

/// Expands a tensor whole and row by row: both must come to the same.
bool expand(const CompressedTensor& tensor) {
  const CompressedTensor::Impl& impl = tensor.impl();
  std::vector<std::byte> whole(tensor.raw_bytes());
  std::vector<std::byte> rows(tensor.raw_bytes());
  std::vector<std::int64_t> index(tensor.row_bytes() == 0 ? 0 : tensor.num_rows());
  std::iota(index.begin(), index.end(), std::int64_t{0});
  return with_decoder(impl, [&](const Decoder& decoder) {
    const bool expanded = ok(decoder.expand(whole.data(), 1));
    const bool gathered = ok(decoder.gather(std::span<const std::int64_t>(index), rows.data(), 1));
    insist(expanded == gathered, "gather and decompress do not agree on whether the rows are well-formed");
    insist(!expanded || whole == rows, "gather and decompress differ");
    (void)tensor.transfer_ratio();
    return expanded;
  });
}

/// Looks at where the bits of a tensor go, as a report does: whatever is in its rows, it must add up.
void analyze_bits(const CompressedTensor& tensor) {
  constexpr AnalysisBudget kBudget{.sample_bytes = std::uint64_t{16} << 10, .max_parts = 8};
  const auto analysis = analyze(tensor, kBudget);
  if (!ok(analysis)) return;
  const auto& bits = analysis.value().bits;
  insist(std::accumulate(bits.begin(), bits.end(), std::uint64_t{0}) == 8 * tensor.stored_bytes(),
         "what bits are for does not add up");
}

/// Loads a payload into memory, and rewrites rows.
void load_and_update(Bytes payload) {
  auto loaded = open_copied(payload, 1);
  if (!ok(loaded)) return;
  CompressedTensor tensor = std::move(loaded).value();
  if (tensor.packing() != Packing::kSlotted || tensor.num_rows() == 0) return;
  std::vector<std::byte> rows(2 * tensor.row_bytes(), std::byte{0x5A});
  const std::int64_t index[] = {0, static_cast<std::int64_t>(tensor.num_rows()) - 1};
  tensor.update(index, rows);
  tensor.compact();
  std::vector<std::byte> back(rows.size());
  tensor.gather(index, back);
  insist(back == rows, "an updated row does not come back");
}

}  // namespace

Outcome read_file(Bytes bytes) {
  TensorFile file;
  if (!ok(read_safetensors(bytes, nullptr, file)) || !file.is_compressed) return Outcome::kRefused;
  Outcome outcome = Outcome::kDecoded;
  for (const TensorFile::StoredTensor& stored : file.stored) {
    const CompressedTensor::Impl& impl = stored.tensor->impl();
    // Rows without bytes are many for nothing.
    if (stored.tensor->raw_bytes() > kMaxTensorBytes) continue;
    const bool expanded = expand(*stored.tensor);
    analyze_bits(*stored.tensor);
    const bool has_checksums = ok(check_payload(stored.payload, impl.header.payload_checksum, 1)) &&
                               ok(with_decoder(impl, [](const Decoder& decoder) {
                                 return decoder.expand_verified(1, [](std::uint64_t, Bytes) { return Result<void>(); });
                               }));
    insist(expanded || !has_checksums, "a malformed tensor has its checksum");
    if (!expanded) return Outcome::kRefused;
    if (!has_checksums) outcome = Outcome::kUnchecked;
    if (has_checksums) load_and_update(stored.payload);
  }
  return outcome;
}

}  // namespace stillbit::fuzz
