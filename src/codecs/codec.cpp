#include "codecs/codec.hpp"

#include "cpu/copy.hpp"

#include <algorithm>

namespace stillbit {

std::uint64_t decode_staged(const RowCodec& codec, std::uint64_t row_bytes, const StoredRow* rows,
                            std::uint64_t num_rows, std::byte* dst) {
  constexpr std::uint64_t kStagedBytes = std::uint64_t{16} << 10;
  if (row_bytes > kStagedBytes) return codec.decode(rows, num_rows, dst);
  alignas(64) std::byte staged[kStagedBytes + RowCodec::kSlack];
  const std::uint64_t most = kStagedBytes / row_bytes;
  std::uint64_t first = 0;
  for (bool is_sound = true; is_sound && first < num_rows;) {
    const std::uint64_t wanted = std::min(most, num_rows - first);
    const std::uint64_t num_decoded = codec.decode(rows + first, wanted, staged);
    cpu::copy_past_caches({staged, num_decoded * row_bytes}, dst + first * row_bytes);
    first += num_decoded;
    is_sound = num_decoded == wanted;
  }
  cpu::finish_copies();
  return first;
}

std::uint64_t estimated_bytes(const RowCodec& codec, const PlanInput& input) {
  const std::uint64_t row_bytes = input.geometry.row_bytes;
  if (row_bytes == 0 || input.sample.empty()) return codec.plan().size() + input.geometry.num_bytes();
  std::vector<std::uint32_t> sizes(input.sample.size() / row_bytes);
  codec.measure(input.sample.data(), sizes.size(), sizes.data());
  double sum = 0;
  for (const std::uint32_t size : sizes) sum += size;
  const double mean = sum / static_cast<double>(sizes.size());
  return codec.plan().size() + static_cast<std::uint64_t>(mean * static_cast<double>(input.geometry.num_rows));
}

}  // namespace stillbit
