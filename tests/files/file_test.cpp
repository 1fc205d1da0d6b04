// Files through the library: what is mapped, what is shared, what is refused.

#include <stillbit/stillbit.hpp>

#include "io/mapped_file.hpp"
#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::TemporaryFolder;
using testing::Values;

/// How many bytes of a file the system has in memory: what was read of it since its cache was dropped, and what was
/// read ahead.
std::uint64_t cached_bytes(const std::filesystem::path& path) {
  const io::MappedFile file = unwrap(io::MappedFile::open(path));
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((file.bytes().size() + page - 1) / page);
  if (::mincore(const_cast<std::byte*>(file.bytes().data()), file.bytes().size(), pages.data()) != 0) return 0;
  return page *
         static_cast<std::uint64_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return p & 1; }));
}

/// Forgets what the system has of a file in memory. False where it keeps it anyway (a file system in memory).
bool drop_cache(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  return cached_bytes(path) == 0;
}

TEST(Mapped, GatheringTenRowsTouchesTheirPages) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "large.safetensors";
  const OwnedTensor raw = make_tensor(DType::kU16, {60000, 1024}, Values::kSmallInts, 1);
  for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
    CompressOptions options;
    options.packing = packing;
    NamedTensors tensors;
    tensors.emplace_back("t", compress(raw.view(), options));
    save(path, tensors);
    if (!drop_cache(path)) GTEST_SKIP() << "the file system keeps its files in memory";
    const NamedTensors loaded = load(path);
    std::vector<std::int64_t> index;
    for (std::int64_t i = 0; i < 10; ++i) index.push_back(i * 5999);
    std::vector<std::byte> rows(10 * 2048);
    loaded[0].second.gather(index, rows, 1);
    EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 2048, raw.data.begin()));
    // Ten rows, the header, and what the system reads ahead of each.
    EXPECT_LT(cached_bytes(path), std::filesystem::file_size(path) / 4);
  }
}

TEST(Files, KeepNamesOrderAndMetadata) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  const OwnedTensor raw = make_tensor(DType::kF32, {10, 8}, Values::kNormal, 1);
  NamedTensors tensors;
  for (const char* name : {"z", "a", "\xC3\xA9"}) tensors.emplace_back(name, compress(raw.view()));
  save(path, tensors, {{"format", "pt"}});
  const NamedTensors loaded = load(path, {.mmap = false});
  ASSERT_EQ(loaded.size(), 3U);
  EXPECT_EQ(loaded[0].first, "z");
  EXPECT_EQ(loaded[2].first, "\xC3\xA9");
  EXPECT_EQ(inspect_file(path).tensors[1].name, "a");
  EXPECT_EQ(inspect_file(path).metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_NO_THROW(verify_file(path));
}

TEST(Files, AreSavedFromTensorsOwnedElsewhere) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  const OwnedTensor raw = make_tensor(DType::kF32, {10, 8}, Values::kNormal, 1);
  const CompressedTensor tensor = compress(raw.view());
  save(path, NamedTensorPointers{{"a", &tensor}, {"b", &tensor}});
  const NamedTensors loaded = load(path);
  ASSERT_EQ(loaded.size(), 2U);
  std::vector<std::byte> expanded(raw.data.size());
  loaded[1].second.decompress(expanded);
  EXPECT_EQ(expanded, raw.data);
}

TEST(Files, ShowTheirTensorsInOrder) {
  const TemporaryFolder folder;
  const auto compressed = folder.path() / "compressed.safetensors";
  const auto path = folder.path() / "raw.safetensors";
  const OwnedTensor large = make_tensor(DType::kBF16, {30, 8}, Values::kNormal, 1);
  const OwnedTensor empty = make_tensor(DType::kF32, {0, 4}, Values::kNormal, 1);
  NamedTensors tensors;
  tensors.emplace_back("z", compress(large.view()));
  tensors.emplace_back("a", compress(empty.view()));
  save(compressed, tensors);
  decompress_file(compressed, path);

  std::vector<std::string> names;
  for_each_tensor(path, [&](const std::string& name, const TensorView& tensor) {
    const OwnedTensor& wanted = name == "z" ? large : empty;
    names.push_back(name);
    EXPECT_EQ(tensor.dtype, wanted.dtype);
    EXPECT_EQ(tensor.shape, wanted.shape);
    EXPECT_TRUE(std::equal(wanted.data.begin(), wanted.data.end(), static_cast<const std::byte*>(tensor.data)));
  });
  EXPECT_EQ(names, (std::vector<std::string>{"z", "a"}));

  const auto stop = [](const std::string&, const TensorView&) { throw Error(ErrorCode::kMismatch, "enough"); };
  EXPECT_THROW(for_each_tensor(path, stop), Error);
  EXPECT_THROW(for_each_tensor(compressed, [](const std::string&, const TensorView&) {}), Error);
  EXPECT_THROW(for_each_tensor(folder.path() / "missing.npy", stop), Error);
}

TEST(Files, OfWrongContentsAreRefused) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  const OwnedTensor raw = make_tensor(DType::kF32, {10, 8}, Values::kNormal, 1);
  NamedTensors twice;
  for (int i = 0; i < 2; ++i) twice.emplace_back("same", compress(raw.view()));
  EXPECT_THROW(save(path, twice), Error);
  NamedTensors one;
  one.emplace_back("t", compress(raw.view()));
  EXPECT_THROW(save(path, one, {{"stillbit", "mine"}}), Error);
  EXPECT_THROW(save(folder.path() / "missing" / "t.safetensors", one), Error);
  EXPECT_EQ(folder.num_files(), 0U);
  EXPECT_THROW((void)load(path), Error);
}

}  // namespace
}  // namespace stillbit
