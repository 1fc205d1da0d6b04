// What the host does for tables on a GPU: where they are placed, in what order work is put on streams, and what is said
// when something is refused. The CUDA runtime is a fake, and kernels are played by the CPU.

#include "tests/cuda/tables.hpp"

#include "api/compressed_tensor.hpp"
#include "cuda/device.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace stillbit {
namespace {

using namespace testing;
using cuda::Placement;

TEST_F(Tables, EveryPlacementExpandsAndGathers) {
  for (const Placement placement : {Placement::kPinned, Placement::kInPlace, Placement::kDevice}) {
    for (const Codec codec :
         {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape, Codec::kSparse, Codec::kDictionary, Codec::kRans}) {
      for (const Packing packing : {Packing::kPacked, Packing::kSlotted}) {
        const CompressedTensor tensor = compressed(codec, packing, {700, 100});
        const auto table = table_of(tensor, placement);
        ASSERT_TRUE(table.ok()) << table.fault().message;
        EXPECT_EQ(table.value()->memory().placement, placement) << table.value()->memory().note;
        EXPECT_EQ(table.value()->memory().note, "");
        expect_expands(*table.value(), tensor);

        std::vector<std::int64_t> index(100);
        for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i * 37 % 700);
        const cuda::DeviceMemory d_index = cuda::DeviceMemory::holding(std::as_bytes(std::span(index))).value();
        const cuda::DeviceMemory out = on_device(index.size() * 200);
        ASSERT_TRUE(
            table.value()
                ->gather({.index = d_index.data(), .num_index = index.size(), .out = out.data(), .stream = stream_})
                .ok());
        ASSERT_EQ(table.value()->check(stream_).value().fault, 0U);
        std::vector<std::byte> rows(index.size() * 200);
        tensor.gather(std::span<const std::int64_t>(index), rows);
        EXPECT_TRUE(std::equal(rows.begin(), rows.end(), out.data()));
      }
    }
  }
}

TEST_F(Tables, APipelineKeepsTheOrderWhateverItsPace) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kPacked, {20000, 256}, Values::kNormal);
  ASSERT_EQ(tensor.codec(), Codec::kWindow);
  for (const auto pace : {FakeRuntime::Pace::kLate, FakeRuntime::Pace::kSoon}) {
    FakeRuntime::get().pace = pace;
    FakeRuntime::get().slow_stream = stream_;
    const auto table = table_of(tensor, Placement::kPinned);
    ASSERT_TRUE(table.ok());
    expect_expands(*table.value(), tensor);
    EXPECT_EQ(FakeRuntime::get().num_streams, 2U) << "the tensor is large enough for a stream of copies";
    expect_expands(*table.value(), tensor);
  }
}

/// A table without rows, planned on those of `raw`, with room for them.
cuda::TableOptions room_for(const CompressedTensor& tensor, Placement placement, std::uint64_t overflow_bytes) {
  return {
      .placement = placement, .capacity_rows = tensor.num_rows(), .overflow_bytes = overflow_bytes, .is_empty = true};
}

TEST_F(Tables, RowsAreCompressedOnTheGpuBehindEachOther) {
  const OwnedTensor raw = make_tensor(DType::kBF16, {700, 100}, Values::kOutliers, 3);
  for (const Codec codec : {Codec::kRaw, Codec::kIbp, Codec::kWindow, Codec::kEscape}) {
    const CompressedTensor tensor = compressed(codec, Packing::kSlotted, {700, 100});
    for (const Placement placement : {Placement::kPinned, Placement::kDevice}) {
      const auto table = table_of(tensor, room_for(tensor, placement, 20000));
      ASSERT_TRUE(table.ok()) << table.fault().message;
      const cuda::DeviceMemory rows = cuda::DeviceMemory::holding(raw.data).value();
      ASSERT_TRUE(table.value()->append(rows.data(), 300, stream_).ok());
      ASSERT_TRUE(table.value()->append(rows.data() + 300 * 200, 400, stream_).ok());
      expect_expands(*table.value(), tensor);
      EXPECT_LE(table.value()->overflow_use(stream_).value().used_bytes, tensor.impl().header.overflow_bytes + 20000);
      const auto full = table.value()->append(rows.data(), 1, stream_);
      ASSERT_FALSE(full.ok());
      EXPECT_EQ(full.fault().message, "1 rows are too many: the table has 700 and room for 700");
    }
  }
}

TEST_F(Tables, OfARowThatIsNamedTwiceTheLastIsKept) {
  const CompressedTensor tensor = compressed(Codec::kEscape, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, {.overflow_bytes = 100000});
  ASSERT_TRUE(table.ok());
  const OwnedTensor fresh = make_tensor(DType::kBF16, {4, 100}, Values::kRandomBits, 8);
  const std::vector<std::int64_t> index{5, 699, 5, 0};
  const cuda::DeviceMemory d_index = cuda::DeviceMemory::holding(std::as_bytes(std::span(index))).value();
  const cuda::DeviceMemory rows = cuda::DeviceMemory::holding(fresh.data).value();
  ASSERT_TRUE(table.value()
                  ->update(reinterpret_cast<const std::int64_t*>(d_index.data()), rows.data(), index.size(), stream_)
                  .ok());
  CompressedTensor expected = compressed(Codec::kEscape, Packing::kSlotted, {700, 100});
  expected.update(std::span<const std::int64_t>(index), fresh.data);
  expect_expands(*table.value(), expected);
}

TEST_F(Tables, AnOverflowAreaThatIsFullIsReported) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, {.capacity_rows = 710});
  ASSERT_TRUE(table.ok());
  const OwnedTensor fresh = make_tensor(DType::kBF16, {10, 100}, Values::kRandomBits, 8);
  const cuda::DeviceMemory rows = cuda::DeviceMemory::holding(fresh.data).value();
  ASSERT_TRUE(table.value()->append(rows.data(), 10, stream_).ok());
  const warp::Status status = table.value()->check(stream_).value();
  EXPECT_EQ(status.fault, static_cast<std::uint32_t>(warp::Fault::kNoSpace));
  EXPECT_GE(status.where, 700U);
}

TEST_F(Tables, WhatIsWrittenIsReadBack) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, room_for(tensor, Placement::kPinned, 20000));
  const cuda::DeviceMemory rows = cuda::DeviceMemory::holding(expected(tensor)).value();
  ASSERT_TRUE(table.value()->append(rows.data(), 700, stream_).ok());
  const warp::OverflowUse use = table.value()->overflow_use(stream_).value();
  std::vector<std::byte> slots(tensor.impl().header.rows_bytes);
  std::vector<std::byte> overflow(use.used_bytes);
  ASSERT_TRUE(table.value()->read_back(slots, overflow, stream_).ok());
  EXPECT_EQ(use.used_bytes, tensor.impl().header.overflow_bytes);
  // One warp after the other fills the slots: only where tails lie may differ from the CPU's.
  const std::uint64_t stride = tensor.impl().header.row_unit;
  for (std::uint64_t row = 0; row < 700; ++row) {
    const auto* const slot = slots.data() + row * stride;
    EXPECT_TRUE(std::equal(slot, slot + stride - 13, tensor.impl().rows.data() + row * stride)) << row;
  }
}

TEST_F(Tables, WhereRowsCannotBeWrittenOneFaultSaysWhy) {
  const CompressedTensor packed = compressed(Codec::kWindow, Packing::kPacked, {700, 100});
  const auto table = table_of(packed, Placement::kPinned);
  const cuda::DeviceMemory rows = on_device(200);
  const auto appended = table.value()->append(rows.data(), 1, stream_);
  ASSERT_FALSE(appended.ok());
  EXPECT_EQ(appended.fault().code, ErrorCode::kUnsupported);
  const auto room = table_of(packed, {.capacity_rows = 1000});
  ASSERT_FALSE(room.ok());
  EXPECT_EQ(room.fault().code, ErrorCode::kInvalidArgument);
}

TEST_F(Tables, AGatherNeitherAllocatesNorWaits) {
  const CompressedTensor tensor = compressed(Codec::kEscape, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  ASSERT_TRUE(table.ok());
  const std::vector<std::int64_t> index{1, 2, 3};
  const cuda::DeviceMemory d_index = cuda::DeviceMemory::holding(std::as_bytes(std::span(index))).value();
  const cuda::DeviceMemory out = on_device(600);
  const std::uint64_t before = FakeRuntime::get().num_calls_that_wait;
  ASSERT_TRUE(
      table.value()->gather({.index = d_index.data(), .num_index = 3, .out = out.data(), .stream = stream_}).ok());
  EXPECT_EQ(FakeRuntime::get().num_calls_that_wait, before);
}

TEST_F(Tables, RowsThatLieRawInTheGpusMemoryAreReadThere) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  std::vector<std::uint32_t> slots(700);
  slots[5] = 2;
  const cuda::DeviceMemory d_slots = cuda::DeviceMemory::holding(std::as_bytes(std::span(slots))).value();
  const cuda::DeviceMemory fast = cuda::DeviceMemory::holding(std::vector<std::byte>(400, std::byte{7})).value();
  const auto* const map = reinterpret_cast<const std::uint32_t*>(d_slots.data());
  ASSERT_TRUE(table.value()->set_fast_rows(map, fast.data(), 2).ok());
  const std::vector<std::int64_t> index{4, 5};
  const cuda::DeviceMemory d_index = cuda::DeviceMemory::holding(std::as_bytes(std::span(index))).value();
  const cuda::DeviceMemory out = on_device(400);
  const auto gather = [&] {
    ASSERT_TRUE(
        table.value()->gather({.index = d_index.data(), .num_index = 2, .out = out.data(), .stream = stream_}).ok());
    ASSERT_EQ(table.value()->check(stream_).value().fault, 0U);
  };
  std::vector<std::byte> rows(400);
  tensor.gather(std::span<const std::int64_t>(index), rows);
  gather();
  EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 200, out.data()));
  EXPECT_TRUE(std::all_of(out.data() + 200, out.data() + 400, [](std::byte byte) { return byte == std::byte{7}; }));
  ASSERT_TRUE(table.value()->set_fast_rows(nullptr, nullptr, 0).ok());
  gather();
  EXPECT_TRUE(std::equal(rows.begin(), rows.end(), out.data()));

  EXPECT_EQ(table.value()->set_fast_rows(slots.data(), fast.data(), 2).fault().message,
            "slots is in host memory that is not pinned");
  const auto packed = table_of(compressed(Codec::kWindow, Packing::kPacked, {700, 100}), Placement::kPinned);
  EXPECT_EQ(packed.value()->set_fast_rows(map, fast.data(), 2).fault().code, ErrorCode::kUnsupported);
}

TEST_F(Tables, PinnedMemoryThatIsRefusedIsPinnedPieceByPiece) {
  FakeRuntime::get().max_host_alloc_bytes = 1000;
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table.value()->memory().placement, Placement::kPinned);
  EXPECT_GT(FakeRuntime::get().registered_bytes, 0U);
  expect_expands(*table.value(), tensor);
}

TEST_F(Tables, MemoryThatIsPinnedInPiecesIsMovedInPieces) {
  // Of each placement some pieces of 1 MiB, the least that is tried.
  FakeRuntime::get().max_host_alloc_bytes = 1000;
  FakeRuntime::get().max_registration_bytes = (std::uint64_t{1} << 21) - 1;
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {20000, 256}, Values::kNormal);
  for (const Placement placement : {Placement::kPinned, Placement::kInPlace}) {
    const auto table = table_of(tensor, placement);
    ASSERT_TRUE(table.ok()) << table.fault().message;
    EXPECT_EQ(table.value()->memory().placement, placement) << table.value()->memory().note;
    EXPECT_GT(FakeRuntime::get().num_registrations, 3U);
    expect_expands(*table.value(), tensor);
    EXPECT_EQ(FakeRuntime::get().num_streams, 2U) << "the copy engine moves it";
    std::vector<std::byte> rows(tensor.impl().header.rows_bytes);
    std::vector<std::byte> overflow(tensor.impl().header.overflow_bytes);
    ASSERT_TRUE(table.value()->read_back(rows, overflow, stream_).ok());
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), tensor.impl().rows.data()));
  }
}

TEST_F(Tables, WhereNothingCanBePinnedTheGpuHoldsTheTableAndSaysSo) {
  FakeRuntime::get().max_host_alloc_bytes = 0;
  FakeRuntime::get().max_registered_bytes = 0;
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  for (const Placement placement : {Placement::kPinned, Placement::kInPlace}) {
    const auto table = table_of(tensor, placement);
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(table.value()->memory().placement, Placement::kDevice);
    EXPECT_NE(table.value()->memory().note.find("ulimit -l"), std::string::npos) << table.value()->memory().note;
    expect_expands(*table.value(), tensor);
  }
  FakeRuntime::get().max_device_bytes = 20000;
  const auto none = table_of(tensor, Placement::kPinned);
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.fault().message.find("in the GPU's memory: cudaMalloc of"), std::string::npos) << none.fault().message;
}

TEST_F(Tables, ReadOnlyMemoryIsPinnedWhereTheDriverCan) {
  FakeRuntime::get().can_pin_read_only = false;
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kPacked, {700, 100});
  const auto table = table_of(tensor, Placement::kInPlace);
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table.value()->memory().placement, Placement::kInPlace);
}

TEST_F(Tables, RowsTooLongForSharedMemoryTakeTheGpus) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {30, 30000});
  const auto table = table_of(tensor, Placement::kPinned);
  ASSERT_TRUE(table.ok());
  EXPECT_GT(table.value()->memory().device_bytes, std::uint64_t{1} << 20);
  expect_expands(*table.value(), tensor);
}

TEST_F(Tables, MemoryThatTheGpuDoesNotReachIsNamed) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  const auto table = table_of(tensor, Placement::kPinned);
  std::vector<std::int64_t> index(10);
  const cuda::DeviceMemory out = on_device(2000);
  const auto gathered =
      table.value()->gather({.index = index.data(), .num_index = index.size(), .out = out.data(), .stream = stream_});
  ASSERT_FALSE(gathered.ok());
  EXPECT_EQ(gathered.fault().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(gathered.fault().message, "index is in host memory that is not pinned");
  const auto misaligned =
      table.value()->gather({.index = out.data() + 1, .num_index = index.size(), .out = out.data(), .stream = stream_});
  ASSERT_FALSE(misaligned.ok());
  EXPECT_EQ(misaligned.fault().message, "index is not aligned to 8 bytes");
}

TEST_F(Tables, WithoutADriverOrAGpuThereIsOneClearFault) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {70, 100});
  const auto expect_fault = [&](const std::string& message) {
    EXPECT_EQ(cuda::count_devices().fault().message, message);
    const auto table = table_of(tensor, Placement::kPinned);
    ASSERT_FALSE(table.ok());
    EXPECT_EQ(table.fault().message, message);
    EXPECT_EQ(table.fault().code, ErrorCode::kDevice);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "an error that was reported is not found again";
  };
  FakeRuntime::get().driver_version = 0;
  expect_fault("no GPU: no NVIDIA driver is installed");
  FakeRuntime::get().driver_version = 11040;
  FakeRuntime::get().failing = {"cudaGetDeviceCount"};
  expect_fault("no GPU: the NVIDIA driver is too old: it is of CUDA 11.4, and this build of CUDA " +
               std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10));
  FakeRuntime::get().failing.clear();
  FakeRuntime::get().num_devices = 0;
  expect_fault("no GPU: the driver finds none");
  FakeRuntime::get().num_devices = 1;
}

TEST_F(Tables, WhereTheGpuHasTooLittleMemoryTheFaultSaysSo) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {700, 100});
  FakeRuntime::get().max_device_bytes = 20000;
  const auto table = table_of(tensor, Placement::kDevice);
  ASSERT_FALSE(table.ok());
  EXPECT_EQ(table.fault().code, ErrorCode::kDevice);
  EXPECT_EQ(table.fault().message, "cudaMalloc of " + std::to_string(tensor.impl().header.rows_bytes) +
                                       " bytes failed: out of memory (cudaErrorMemoryAllocation): not enough memory");
}

TEST_F(Tables, AFailureOnTheWayLeavesNothingBehind) {
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kPacked, {20000, 256}, Values::kNormal);
  const auto table = table_of(tensor, Placement::kPinned);
  const cuda::DeviceMemory out = on_device(tensor.raw_bytes());
  for (const char* function : {"cudaStreamCreateWithFlags", "cudaEventCreateWithFlags", "cudaMemcpyAsync"}) {
    FakeRuntime::get().failing = {function};
    const auto expanded = table.value()->decompress(out.data(), stream_);
    ASSERT_FALSE(expanded.ok()) << function;
    EXPECT_NE(expanded.fault().message.find(function), std::string::npos) << expanded.fault().message;
  }
  FakeRuntime::get().failing.clear();
  expect_expands(*table.value(), tensor);
}

TEST_F(Tables, ATableOnAnotherGpuLeavesTheCurrentOneAsItIs) {
  FakeRuntime::get().num_devices = 4;
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {20000, 256}, Values::kNormal);
  const auto table = table_of(tensor, {.device = 2, .overflow_bytes = 10000});
  ASSERT_TRUE(table.ok()) << table.fault().message;
  EXPECT_EQ(FakeRuntime::get().current_device, 0);
  EXPECT_EQ(table.value()->memory().device, 2);
  const std::vector<std::int64_t> index{7, 3};
  const std::vector<std::byte> raw = expected(tensor);
  cuda::DeviceMemory d_index;
  cuda::DeviceMemory out;
  cuda::DeviceMemory rows;
  {
    const auto scope = cuda::DeviceScope::enter(2);
    ASSERT_TRUE(scope.ok());
    d_index = cuda::DeviceMemory::holding(std::as_bytes(std::span(index))).value();
    out = on_device(tensor.raw_bytes());
    rows = cuda::DeviceMemory::holding(Bytes(raw).subspan(0, 2 * 512)).value();
  }
  const auto* const numbers = reinterpret_cast<const std::int64_t*>(d_index.data());
  const auto returns_to_gpu_0 = [](const auto& result) {
    EXPECT_TRUE(result.ok());
    EXPECT_EQ(FakeRuntime::get().current_device, 0);
  };
  returns_to_gpu_0(table.value()->gather({.index = numbers, .num_index = 2, .out = out.data(), .stream = stream_}));
  returns_to_gpu_0(table.value()->update(numbers, rows.data(), 2, stream_));
  returns_to_gpu_0(table.value()->decompress(out.data(), stream_));
  returns_to_gpu_0(table.value()->check(stream_));
  EXPECT_EQ(FakeRuntime::get().devices_of_work, std::set<int>{2});

  // Memory of the current GPU is not the table's.
  const cuda::DeviceMemory elsewhere = cuda::DeviceMemory::holding(std::as_bytes(std::span(index))).value();
  const auto gathered = table.value()->gather(
      {.index = elsewhere.data(), .num_index = index.size(), .out = out.data(), .stream = stream_});
  ASSERT_FALSE(gathered.ok());
  EXPECT_EQ(gathered.fault().message, "index is on another GPU than the table, which is on GPU 2");
  EXPECT_EQ(FakeRuntime::get().current_device, 0);
}

TEST_F(Tables, AGpuThatDoesNotExistIsNamed) {
  FakeRuntime::get().num_devices = 4;
  const CompressedTensor tensor = compressed(Codec::kWindow, Packing::kSlotted, {70, 100});
  const auto table = table_of(tensor, {.device = 4});
  ASSERT_FALSE(table.ok());
  EXPECT_EQ(table.fault().message, "GPU 4 does not exist: there are 4");
  EXPECT_EQ(FakeRuntime::get().current_device, 0);
}

TEST_F(Tables, TheCurrentDeviceComesBack) {
  FakeRuntime::get().num_devices = 4;
  {
    const auto scope = cuda::DeviceScope::enter(2);
    ASSERT_TRUE(scope.ok());
    EXPECT_EQ(FakeRuntime::get().current_device, 2);
  }
  EXPECT_EQ(FakeRuntime::get().current_device, 0);
}

}  // namespace
}  // namespace stillbit
