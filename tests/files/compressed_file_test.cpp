// Many tensors of a file, expanded in one call: the same bytes as one by one, and faults that name the tensor.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>

namespace stillbit {
namespace {

using testing::kAllValues;
using testing::make_tensor;
using testing::OwnedTensor;
using testing::TemporaryFolder;
using testing::Values;

/// Tensors of every kind: small ones, some of several tasks, empty ones, a scalar.
std::vector<std::pair<std::string, OwnedTensor>> tensors_of_all_kinds() {
  std::vector<std::pair<std::string, OwnedTensor>> tensors;
  for (const Values values : kAllValues) {
    for (const DType dtype : {DType::kBF16, DType::kF32, DType::kU8})
      tensors.emplace_back(testing::name(values) + std::to_string(tensors.size()),
                           make_tensor(dtype, {67, 33}, values, tensors.size()));
    tensors.emplace_back("large" + std::to_string(tensors.size()),
                         make_tensor(DType::kBF16, {600, 1000}, values, tensors.size()));
  }
  tensors.emplace_back("empty", make_tensor(DType::kF32, {0, 4}, Values::kNormal, 1));
  tensors.emplace_back("scalar", make_tensor(DType::kF64, {}, Values::kNormal, 1));
  return tensors;
}

NamedTensors compressed(const std::vector<std::pair<std::string, OwnedTensor>>& tensors,
                        const CompressOptions& options) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) result.emplace_back(name, compress(tensor.view(), options));
  return result;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ManyTensors, AreExpandedAsOneByOne) {
  const auto raw = tensors_of_all_kinds();
  CompressOptions objective;
  objective.objective = Objective::kSmallest;
  objective.packing = Packing::kPacked;
  CompressOptions packed;
  packed.packing = Packing::kPacked;
  for (const CompressOptions& options : {CompressOptions(), packed, objective}) {
    const NamedTensors tensors = compressed(raw, options);
    for (const unsigned num_threads : {1U, 3U}) {
      for (const bool is_new_memory : {false, true}) {
        std::vector<std::vector<std::byte>> outs;
        std::vector<DecompressRequest> requests;
        for (const auto& [name, tensor] : tensors) outs.emplace_back(tensor.raw_bytes(), std::byte{0xAA});
        for (std::size_t i = 0; i < tensors.size(); ++i)
          requests.push_back({&tensors[i].second, outs[i], is_new_memory});
        is_new_memory ? decompress(requests, num_threads) : decompress_verified(requests, num_threads);
        for (std::size_t i = 0; i < tensors.size(); ++i) EXPECT_EQ(outs[i], raw[i].second.data) << raw[i].first;
      }
    }
  }
  EXPECT_NO_THROW(decompress({}));
}

TEST(ManyTensors, OfWhichOneIsGivenTwice) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {600, 3000}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  std::vector<std::byte> first(raw.data.size());
  std::vector<std::byte> second(raw.data.size());
  decompress_verified(std::vector<DecompressRequest>{{&tensor, first}, {&tensor, second}});
  EXPECT_EQ(first, raw.data);
  EXPECT_EQ(second, raw.data);
}

TEST(ManyTensors, ThatWereChangedHaveNoChecksum) {
  const OwnedTensor raw = make_tensor(DType::kF32, {40, 16}, Values::kNormal, 1);
  CompressedTensor tensor = compress(raw.view());
  const std::vector<std::byte> row(64);
  tensor.update(std::vector<std::int64_t>{3}, row);
  std::vector<std::byte> out(raw.data.size());
  decompress_verified(std::vector<DecompressRequest>{{&tensor, out}});
  EXPECT_TRUE(std::equal(row.begin(), row.end(), out.begin() + 3 * 64));
}

TEST(ManyTensors, WithTooLittleMemoryAreLeft) {
  const OwnedTensor raw = make_tensor(DType::kF32, {40, 16}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  std::vector<std::byte> right(raw.data.size());
  std::vector<std::byte> wrong(raw.data.size() - 1);
  const std::vector<DecompressRequest> requests{{&tensor, right}, {&tensor, wrong}};
  EXPECT_EQ(message_of([&] { decompress(requests); }), "tensor 1: it takes 2560 bytes, the memory given has 2559");
  EXPECT_EQ(right, std::vector<std::byte>(right.size()));
}

class CompressedFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    NamedTensors tensors = compressed(raw_, {});
    tensors.emplace_back("again", compress(raw_[0].second.view()));
    save(path_, tensors);
  }

  /// Changes a bit in the last bytes of the largest payload, on which no structure depends.
  void damage(const std::string& name, std::size_t from_end) {
    const NamedTensors loaded = load(path_, {.mmap = false});
    std::uint64_t size = std::filesystem::file_size(path_);
    for (auto tensor = loaded.rbegin(); tensor->first != name; ++tensor) size -= tensor->second.stored_bytes();
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(size - from_end));
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(size - from_end));
    file.put(byte);
  }

  std::vector<CompressedFile::Output> outputs(const CompressedFile& file) {
    outs_.clear();
    for (const CompressedFile::Entry& entry : file.entries()) outs_.emplace_back(entry.tensor->raw_bytes());
    std::vector<CompressedFile::Output> outputs;
    for (std::size_t i = 0; i < outs_.size(); ++i) outputs.push_back({i, outs_[i], true});
    return outputs;
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "t.safetensors";
  std::vector<std::pair<std::string, OwnedTensor>> raw_ = tensors_of_all_kinds();
  std::vector<std::vector<std::byte>> outs_;
};

TEST_F(CompressedFiles, AreExpandedWhole) {
  const CompressedFile file(path_);
  ASSERT_EQ(file.entries().size(), raw_.size() + 1);
  for (const unsigned num_threads : {0U, 1U}) {
    file.decompress(outputs(file), true, num_threads);
    for (std::size_t i = 0; i < raw_.size(); ++i) {
      EXPECT_EQ(file.entries()[i].name, raw_[i].first);
      EXPECT_EQ(file.entries()[i].file, path_);
      EXPECT_EQ(outs_[i], raw_[i].second.data);
    }
    EXPECT_EQ(outs_.back(), raw_[0].second.data);
  }
}

TEST_F(CompressedFiles, NameWhatIsDamaged) {
  // Behind a payload there may be some padding.
  damage("large3", 200);
  const CompressedFile file(path_);
  const std::vector<CompressedFile::Output> all = outputs(file);
  const std::string message = message_of([&] { file.decompress(all); });
  EXPECT_NE(message.find(path_.string() + ": tensor \"large3\": "), std::string::npos) << message;
  for (const CompressedFile::Output& output : all) {
    if (file.entries()[output.entry].name == "large3") continue;
    EXPECT_NO_THROW(file.decompress({&output, 1}));
  }
}

TEST_F(CompressedFiles, AreAskedForWhatTheyHave) {
  const CompressedFile file(path_);
  std::vector<std::byte> out(3);
  const std::vector<CompressedFile::Output> beyond{{file.entries().size(), out}};
  EXPECT_EQ(message_of([&] { file.decompress(beyond); }), "entry 35 is out of range: the file has 35");
  const std::vector<CompressedFile::Output> small{{0, out}};
  EXPECT_NE(message_of([&] { file.decompress(small); }).find("the memory given has 3"), std::string::npos);
  decompress_file(path_, folder_.path() / "raw.safetensors");
  EXPECT_NE(message_of([&] { CompressedFile(folder_.path() / "raw.safetensors"); }).find("not a compressed file"),
            std::string::npos);
  EXPECT_NE(message_of([&] { CompressedFile(folder_.path() / "absent.safetensors"); }).find("cannot open"),
            std::string::npos);
}

TEST(CompressedFile, OfManyTensorsIsOpenedByThreads) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  NamedTensors tensors;
  for (std::uint64_t i = 0; i < 200; ++i)
    tensors.emplace_back("t" + std::to_string(i),
                         compress(make_tensor(DType::kBF16, {20, 32}, Values::kNormal, i).view()));
  save(path, tensors);
  const CompressedFile file(path);
  ASSERT_EQ(file.entries().size(), 200U);
  std::vector<std::byte> out(20 * 32 * 2);
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(file.entries()[i].name, "t" + std::to_string(i));
    const CompressedFile::Output output{i, out};
    file.decompress({&output, 1});
    EXPECT_EQ(out, make_tensor(DType::kBF16, {20, 32}, Values::kNormal, i).data);
  }
}

}  // namespace
}  // namespace stillbit
