// Peak memory of compressing: in memory against input + output, and of a mapped file: stillbit_peak_memory MEGABYTES
// FILE.npy
//
// FILE.npy, which must not exist, is made, compressed, and removed.

#include <stillbit/stillbit.hpp>

#include "format/npy.hpp"
#include "tests/support/make_tensor.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

namespace {

using namespace stillbit;

/// The most memory this process has had in use since it was last reset, in bytes (VmHWM of /proc/self/status).
double peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::strtod(line.c_str() + 6, nullptr) * 1024;
  }
  return 0;
}

void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << 5;
}

void report(const char* what, double peak, double input, double output) {
  constexpr double kMegabyte = 1e6;
  std::cout << what << ": input " << input / kMegabyte << " MB, output " << output / kMegabyte << " MB, peak "
            << peak / kMegabyte << " MB, over input + output " << (peak - input - output) / kMegabyte
            << " MB, over output " << (peak - output) / kMegabyte << " MB\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || std::filesystem::exists(argv[2])) {
    std::cerr << "usage: stillbit_peak_memory MEGABYTES FILE.npy   (the file must not exist)\n";
    return 2;
  }
  const std::uint64_t num_rows = std::strtoull(argv[1], nullptr, 10) * 1'000'000 / 4096;
  std::uint64_t input = 0;
  {
    const auto tensor = testing::make_tensor(DType::kF32, {num_rows, 1024}, testing::Values::kNormal, 1);
    input = tensor.data.size();
    reset_peak();
    const CompressedTensor compressed = compress(tensor.view());
    report("in memory", peak_bytes(), static_cast<double>(input), static_cast<double>(compressed.stored_bytes()));
    std::ofstream file(argv[2], std::ios::binary);
    file << format::serialize_npy(tensor.dtype, tensor.shape);
    file.write(reinterpret_cast<const char*>(tensor.data.data()), static_cast<std::streamsize>(input));
  }
  const std::string output = std::string(argv[2]) + ".safetensors";
  reset_peak();
  const FileInfo info = compress_file(argv[2], output);
  report("mapped file to file", peak_bytes(), static_cast<double>(input), static_cast<double>(info.stored_bytes));
  std::filesystem::remove(argv[2]);
  std::filesystem::remove(output);
  return 0;
}
