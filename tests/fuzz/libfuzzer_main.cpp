// Entry point for libFuzzer (clang -fsanitize=fuzzer).

#include "tests/fuzz/read_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  stillbit::fuzz::read_file({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
