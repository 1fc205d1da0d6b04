#include <stillbit/stillbit.hpp>

#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : "features.safetensors";

  // 10,000 rows of 256 floats: any memory, C order.
  std::vector<float> features(10000 * 256);
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i % 17) * 0.25F;

  // Compress, and write a file that appears whole or not at all.
  stillbit::NamedTensors tensors;
  tensors.emplace_back("features", stillbit::compress({features.data(), stillbit::DType::kF32, {10000, 256}}));
  stillbit::save(path, tensors);

  // Map it: gathering rows reads the pages they are on, and no others.
  const auto loaded = stillbit::load(path);
  const stillbit::CompressedTensor& tensor = loaded[0].second;
  const std::vector<std::int64_t> index{9999, 0, 42};
  std::vector<float> rows(index.size() * 256);
  tensor.gather(index, std::as_writable_bytes(std::span(rows)));

  std::cout << "ratio " << tensor.ratio() << ", row 42 starts with " << rows[2 * 256] << '\n';
  return rows[2 * 256] == features[42 * 256] ? 0 : 1;
}
