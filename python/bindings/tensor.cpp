#include "bindings.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <mutex>
#include <set>
#include <span>

namespace stillbit::python {
namespace {

namespace nb = nanobind;

using Address = std::uintptr_t;
using Reading = std::shared_lock<std::shared_mutex>;
using Changing = std::unique_lock<std::shared_mutex>;

template <class T>
std::span<T> memory(Address address, std::size_t count) {
  return {reinterpret_cast<T*>(address), count};
}

std::shared_ptr<Handle> compress_array(Address address, const std::string& dtype,
                                       const std::vector<std::uint64_t>& shape, const std::optional<std::string>& codec,
                                       const std::optional<std::string>& packing, const std::string& objective,
                                       unsigned row_dims, unsigned num_threads, Counter* counter, const Plan* plan) {
  const TensorView view{reinterpret_cast<const void*>(address), dtype_of(dtype), shape};
  const CompressOptions options = compress_options(plan, codec, packing, objective, row_dims, num_threads, counter);
  const LongCall call;
  return std::make_shared<Handle>(compress(view, options));
}

void gather(const Handle& handle, Address index, std::size_t num_index, unsigned index_bytes, Address out,
            std::size_t out_bytes, unsigned num_threads) {
  const LongCall call;
  const Reading lock(handle.mutex);
  const std::span rows = memory<std::byte>(out, out_bytes);
  if (index_bytes == 4) {
    handle.tensor.gather(memory<const std::int32_t>(index, num_index), rows, num_threads);
  } else {
    handle.tensor.gather(memory<const std::int64_t>(index, num_index), rows, num_threads);
  }
}

IndexSpan integers(Address address, std::size_t count, unsigned width) {
  if (width == 4) return memory<const std::int32_t>(address, count);
  return memory<const std::int64_t>(address, count);
}

/// Bags of one tensor, which it keeps alive.
struct Lookup {
  Lookup(std::shared_ptr<Handle> tensor, Address index, std::size_t num_index, unsigned index_bytes, Address offsets,
         std::size_t num_offsets, unsigned offset_bytes, bool has_last_offset, const std::string& mode,
         std::optional<Address> weights, std::size_t weights_bytes, std::optional<std::uint64_t> padding_index,
         Address out, std::size_t out_stride)
      : handle(std::move(tensor)),
        bags{integers(index, num_index, index_bytes),
             integers(offsets, num_offsets, offset_bytes),
             has_last_offset,
             pool_mode(mode),
             {},
             padding_index},
        address(out),
        stride(out_stride) {
    if (weights) bags.weights = memory<const std::byte>(*weights, weights_bytes);
  }

  std::shared_ptr<Handle> handle;
  Bags bags;
  Address address;
  std::size_t stride;
};

void pool_all(const std::vector<const Lookup*>& lookups, unsigned num_threads) {
  const LongCall call;
  // Each tensor once, and in one order for all threads.
  std::set<const Handle*> handles;
  for (const Lookup* lookup : lookups) handles.insert(lookup->handle.get());
  std::vector<Reading> locks;
  for (const Handle* handle : handles) locks.emplace_back(handle->mutex);
  std::vector<PoolRequest> requests;
  requests.reserve(lookups.size());
  for (const Lookup* lookup : lookups)
    requests.push_back(
        {&lookup->handle->tensor, lookup->bags, memory<std::byte>(lookup->address, 0).data(), lookup->stride});
  pool(requests, num_threads);
}

void decompress(const Handle& handle, Address out, std::size_t out_bytes, unsigned num_threads, bool verify) {
  const LongCall call;
  const Reading lock(handle.mutex);
  const std::span memory_out = memory<std::byte>(out, out_bytes);
  if (verify) {
    handle.tensor.decompress_verified(memory_out, num_threads);
  } else {
    handle.tensor.decompress(memory_out, num_threads);
  }
}

void update(Handle& handle, Address index, std::size_t num_index, Address rows, std::size_t rows_bytes) {
  const nb::gil_scoped_release released;
  const Changing lock(handle.mutex);
  handle.tensor.update(memory<const std::int64_t>(index, num_index), memory<const std::byte>(rows, rows_bytes));
}

void append(Handle& handle, Address rows, std::size_t rows_bytes) {
  const nb::gil_scoped_release released;
  const Changing lock(handle.mutex);
  handle.tensor.append(memory<const std::byte>(rows, rows_bytes));
}

void compact(Handle& handle) {
  const nb::gil_scoped_release released;
  const Changing lock(handle.mutex);
  handle.tensor.compact();
}

void verify(const Handle& handle, unsigned num_threads) {
  const LongCall call;
  const Reading lock(handle.mutex);
  handle.tensor.verify(num_threads);
}

/// What `get` says of the tensor, while nobody changes it.
template <class Get>
auto reading(Get get) {
  return [get](const Handle& handle) {
    const nb::gil_scoped_release released;
    const Reading lock(handle.mutex);
    return get(handle.tensor);
  };
}

std::vector<std::pair<std::string, std::uint64_t>> prices(const CompressedTensor& tensor) {
  std::vector<std::pair<std::string, std::uint64_t>> named;
  for (const CodecPrice& price : tensor.info().prices) named.emplace_back(name(price.codec), price.stored_bytes);
  return named;
}

}  // namespace

PoolMode pool_mode(const std::string& name) {
  if (name == "sum") return PoolMode::kSum;
  if (name == "mean") return PoolMode::kMean;
  if (name == "max") return PoolMode::kMax;
  throw Error(ErrorCode::kInvalidArgument, "mode is \"sum\", \"mean\" or \"max\", not \"" + name + "\"");
}

void bind_tensor(nb::module_& module) {
  nb::class_<Handle>(module, "Tensor", "A compressed tensor.")
      .def_prop_ro("dtype", reading([](const CompressedTensor& tensor) { return name(tensor.dtype()); }))
      .def_prop_ro("shape", reading([](const CompressedTensor& tensor) { return tensor.shape(); }))
      .def_prop_ro("row_dims", reading([](const CompressedTensor& tensor) { return tensor.row_dims(); }))
      .def_prop_ro("num_rows", reading([](const CompressedTensor& tensor) { return tensor.num_rows(); }))
      .def_prop_ro("row_bytes", reading([](const CompressedTensor& tensor) { return tensor.row_bytes(); }))
      .def_prop_ro("codec", reading([](const CompressedTensor& tensor) { return name(tensor.codec()); }))
      .def_prop_ro("packing", reading([](const CompressedTensor& tensor) { return name(tensor.packing()); }))
      .def_prop_ro("raw_bytes", reading([](const CompressedTensor& tensor) { return tensor.raw_bytes(); }))
      .def_prop_ro("stored_bytes", reading([](const CompressedTensor& tensor) { return tensor.stored_bytes(); }))
      .def_prop_ro("ratio", reading([](const CompressedTensor& tensor) { return tensor.ratio(); }))
      .def_prop_ro("transfer_ratio", reading([](const CompressedTensor& tensor) { return tensor.transfer_ratio(); }))
      .def_prop_ro("prices", reading(prices), "Codecs that were considered, and the bytes they would take.")
      .def("gather", gather, nb::arg("index"), nb::arg("num_index"), nb::arg("index_bytes"), nb::arg("out"),
           nb::arg("out_bytes"), nb::arg("num_threads"))
      .def("decompress", decompress, nb::arg("out"), nb::arg("out_bytes"), nb::arg("num_threads"), nb::arg("verify"))
      .def("update", update, nb::arg("index"), nb::arg("num_index"), nb::arg("rows"), nb::arg("rows_bytes"))
      .def("append", append, nb::arg("rows"), nb::arg("rows_bytes"))
      .def("compact", compact)
      .def("verify", verify, nb::arg("num_threads"))
      .def(
          "verify_stored",
          [](const Handle& handle, unsigned num_threads) {
            const LongCall call;
            const Reading lock(handle.mutex);
            handle.tensor.verify_stored(num_threads);
          },
          nb::arg("num_threads"), "Checks what is mapped from a file, and expands nothing.");
  nb::class_<Lookup>(module, "Lookup", "Bags of rows of a tensor, and where what they are pooled to goes.")
      .def(nb::init<std::shared_ptr<Handle>, Address, std::size_t, unsigned, Address, std::size_t, unsigned, bool,
                    const std::string&, std::optional<Address>, std::size_t, std::optional<std::uint64_t>, Address,
                    std::size_t>(),
           nb::arg("tensor"), nb::arg("index"), nb::arg("num_index"), nb::arg("index_bytes"), nb::arg("offsets"),
           nb::arg("num_offsets"), nb::arg("offset_bytes"), nb::arg("has_last_offset"), nb::arg("mode"),
           nb::arg("weights").none(), nb::arg("weights_bytes"), nb::arg("padding_index").none(), nb::arg("out"),
           nb::arg("out_stride"));
  module.def("pool", pool_all, nb::arg("lookups"), nb::arg("num_threads"), "Pools bags of several tensors at once.");
  module.def("compress", compress_array, nb::arg("address"), nb::arg("dtype"), nb::arg("shape"),
             nb::arg("codec").none(), nb::arg("packing").none(), nb::arg("objective"), nb::arg("row_dims"),
             nb::arg("num_threads"), nb::arg("counter").none(), nb::arg("plan").none());
  module.def(
      "dtype_width", [](const std::string& dtype) { return num_bytes(dtype_of(dtype)); }, nb::arg("dtype"),
      "Bytes of an element of a dtype that is named as in safetensors files, in upper or lower case.");
}

}  // namespace stillbit::python
