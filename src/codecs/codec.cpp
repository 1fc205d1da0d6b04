#include "codecs/codec.hpp"

namespace stillbit {

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
