// A data set, in all the forms and places that cases ask for.

#pragma once

#include "bench/gpu/cases.hpp"
#include "bench/gpu/memory.hpp"

#include <stillbit/cuda.hpp>
#include <stillbit/tensor.hpp>

#include <map>
#include <span>
#include <tuple>
#include <variant>
#include <vector>

namespace stillbit::bench::gpu {

/// A case that cannot be measured here, and why: not an error.
struct Skip {
  std::string why;
};

/// Rows to gather: `size` of them a call, at the same places in host and GPU memory.
struct Index {
  std::vector<std::int64_t> host;
  DeviceMemory device;
  std::uint64_t size = 0;

  /// Where a call's rows start: calls in turn take others, so that they do not lie in a cache already.
  [[nodiscard]] std::uint64_t first_of(std::uint64_t call) const { return call % (host.size() / size) * size; }
  [[nodiscard]] std::span<const std::int64_t> on_host(std::uint64_t call) const {
    return std::span(host).subspan(first_of(call), size);
  }
  [[nodiscard]] const std::int64_t* on_device(std::uint64_t call) const {
    return reinterpret_cast<const std::int64_t*>(device.get()) + first_of(call);
  }
};

class Data {
 public:
  explicit Data(const DataSet& made_for);

  [[nodiscard]] const DataSet& which() const { return which_; }
  /// The raw rows, in pinned memory.
  [[nodiscard]] const std::byte* raw() const { return raw_.get(); }
  [[nodiscard]] const std::byte* raw_on_device() const { return raw_on_device_.get(); }

  /// Made when it is first asked for. Throws Skip where the codec makes nothing smaller.
  const CompressedTensor& tensor(Codec codec, Packing packing);

  /// The tensor in GPU or pinned memory, as often as it takes not to fit into a cache. Throws Skip where there is no
  /// such table.
  const std::vector<cuda::Table>& tables(Codec codec, Packing packing, cuda::Placement placement);

  /// The raw rows once more, in memory pinned in another way. Throws Skip where that is not to be had.
  const std::byte* raw_in(Pages pages, std::uint32_t shift_bytes);

  const Index& index(std::uint64_t size, Order order);

 private:
  using RawMemory = std::variant<PinnedMemory, RegisteredMemory>;
  using TensorKey = std::tuple<Codec, Packing>;
  using TableKey = std::tuple<Codec, Packing, cuda::Placement>;

  DataSet which_;
  PinnedMemory raw_;
  DeviceMemory raw_on_device_;
  std::map<TensorKey, CompressedTensor> tensors_;
  std::map<TableKey, std::vector<cuda::Table>> tables_;
  std::map<std::tuple<Pages, std::uint32_t>, RawMemory> raw_in_;
  std::map<std::tuple<std::uint64_t, Order>, Index> indices_;
};

}  // namespace stillbit::bench::gpu
