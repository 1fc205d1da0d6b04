// Files that were written once and must decode, or be refused, for ever.

#include <stillbit/stillbit.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace stillbit {
namespace {

const std::filesystem::path kFolder = STILLBIT_GOLDEN_FOLDER;

TEST(Golden, ValidFilesDecodeToTheirArrays) {
  int num_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string stem = entry.path().stem().string();
    const auto array = kFolder / (stem.substr(0, stem.rfind('_')) + ".npy");
    EXPECT_NO_THROW(verify_file(entry.path(), array)) << stem;
    // Through memory, too.
    for (auto& [name, tensor] : load(entry.path(), {.mmap = false})) {
      std::vector<std::byte> out(tensor.raw_bytes());
      tensor.decompress(out);
      tensor.verify();
    }
    ++num_files;
  }
  EXPECT_GE(num_files, 94);
}

TEST(Golden, InvalidFilesAreRefusedByName) {
  const auto expected = nlohmann::json::parse(std::ifstream(kFolder / "invalid" / "expected.json"));
  EXPECT_GE(expected.size(), 83U);
  for (const auto& [file, words] : expected.items()) {
    try {
      verify_file(kFolder / "invalid" / file);
      // What is wrong only with rows that are to be rewritten is seen when they are.
      static_cast<void>(load(kFolder / "invalid" / file, {.mmap = false}));
      ADD_FAILURE() << file << " was accepted";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find(words.get<std::string>()), std::string::npos) << message;
      EXPECT_NE(message.find(file), std::string::npos) << message;
    }
  }
}

}  // namespace
}  // namespace stillbit
