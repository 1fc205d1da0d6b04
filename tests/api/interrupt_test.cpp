// Calls that are told to stop do so soon, and leave nothing half done.

#include <stillbit/stillbit.hpp>

#include "tests/support/make_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <stdexcept>

namespace stillbit {
namespace {

using testing::make_tensor;
using testing::OwnedTensor;
using testing::TemporaryFolder;
using testing::Values;

struct Stop : std::runtime_error {
  Stop() : std::runtime_error("stop") {}
};

thread_local int asked = 0;

void count_and_stop() {
  ++asked;
  throw Stop();
}

void only_count() {
  ++asked;
}

/// A file of the tensor as it is, and one of it compressed.
struct Files {
  explicit Files(const TemporaryFolder& folder)
      : tensor(make_tensor(DType::kF32, {20000, 64}, Values::kNormal, 1)),
        raw(folder.path() / "raw.safetensors"),
        packed(folder.path() / "packed.safetensors") {
    CompressOptions options;
    options.packing = Packing::kPacked;
    NamedTensors tensors;
    tensors.emplace_back("t", compress(tensor.view(), options));
    save(packed, tensors);
    decompress_file(packed, raw);
  }
  OwnedTensor tensor;
  std::filesystem::path raw;
  std::filesystem::path packed;
};

TEST(Interrupt, EveryLongCallStops) {
  const TemporaryFolder folder;
  const Files files(folder);
  const CompressedTensor tensor = compress(files.tensor.view());
  std::vector<std::byte> out(files.tensor.data.size());
  std::vector<std::int64_t> index(20000);
  NamedTensors named;
  named.emplace_back("t", compress(files.tensor.view()));
  const auto other = folder.path() / "other.safetensors";
  const std::vector<std::function<void()>> calls{
      [&] { (void)compress(files.tensor.view()); },
      [&] { tensor.decompress(out); },
      [&] { tensor.gather(index, out); },
      [&] { tensor.verify(); },
      [&] { save(other, named); },
      [&] { (void)load(files.packed, {.mmap = false}); },
      [&] { compress_file(files.raw, other); },
      [&] { decompress_file(files.packed, other); },
      [&] { verify_file(files.packed); },
      [&] { RowScan(DType::kF32, {64}, 1).add(files.tensor.data); },
  };
  for (std::size_t i = 0; i < calls.size(); ++i) {
    asked = 0;
    // It is asked again only after a while: the call before must not count.
    while (asked == 0) {
      const InterruptScope scope(count_and_stop);
      EXPECT_THROW(
          {
            for (;;) calls[i]();
          },
          Stop)
          << i;
    }
    calls[i]();  // and nothing is asked any more
    EXPECT_EQ(asked, 1) << i;
    std::filesystem::remove(other);
    EXPECT_EQ(folder.num_files(), 2U) << i;
  }
}

TEST(Interrupt, ScopesNestAndEnd) {
  const OwnedTensor raw = make_tensor(DType::kF32, {20000, 64}, Values::kNormal, 1);
  const InterruptScope outer(only_count);
  {
    const InterruptScope inner(count_and_stop);
    EXPECT_THROW(
        {
          for (;;) (void)compress(raw.view());
        },
        Stop);
  }
  asked = 0;
  while (asked < 3) EXPECT_NO_THROW((void)compress(raw.view()));
}

TEST(Interrupt, AnExceptionFromProgressComesOut) {
  const TemporaryFolder folder;
  const Files files(folder);
  const auto other = folder.path() / "other.safetensors";
  for (const unsigned num_threads : {1U, 4U}) {
    for (const std::uint64_t after : {0U, 3'000'000U, 9'000'000U}) {
      std::atomic<std::uint64_t> sum{0};
      const Progress progress = [&](std::uint64_t num_bytes) {
        if ((sum += num_bytes) > after) throw Stop();
      };
      CompressOptions options;
      options.num_threads = num_threads;
      options.progress = progress;
      EXPECT_THROW(compress_file(files.raw, other, {options, {}}), Stop);
      // All else is one pass.
      if (after >= files.tensor.data.size()) continue;
      sum = 0;
      EXPECT_THROW((void)compress(files.tensor.view(), options), Stop);
      sum = 0;
      EXPECT_THROW(decompress_file(files.packed, other, {num_threads, progress}), Stop);
      sum = 0;
      EXPECT_THROW(verify_file(files.packed, files.raw, {num_threads, progress}), Stop);
      EXPECT_EQ(folder.num_files(), 2U);
    }
  }
}

}  // namespace
}  // namespace stillbit
