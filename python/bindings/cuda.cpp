#include "bindings.hpp"

#include <stillbit/cuda.hpp>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <memory>
#include <mutex>
#include <string_view>
#include <tuple>
#include <vector>

namespace stillbit::python {
namespace {

namespace nb = nanobind;

using Address = std::uintptr_t;

constexpr std::array<std::string_view, 3> kPlacements{"pinned", "in_place", "device"};

/// Keeps the tensor alive, whose memory the table may read. Its functions put work on a stream in a few microseconds:
/// they hold the GIL, so that no two threads are in them at once.
struct CudaTable {
  CudaTable(std::shared_ptr<Handle> source, const std::string& placement, int device, std::uint64_t capacity_rows,
            std::uint64_t overflow_bytes, bool is_empty)
      : tensor(std::move(source)) {
    cuda::TableOptions options;
    options.device = device;
    options.capacity_rows = capacity_rows;
    options.overflow_bytes = overflow_bytes;
    options.is_empty = is_empty;
    for (std::size_t i = 0; i < kPlacements.size(); ++i) {
      if (placement == kPlacements[i]) options.placement = static_cast<cuda::Placement>(i);
    }
    const nb::gil_scoped_release released;
    const std::shared_lock lock(tensor->mutex);
    table = std::make_unique<cuda::Table>(tensor->tensor, options);
  }

  void gather(Address index, std::size_t num_index, unsigned index_bytes, Address out, Address stream,
              Address positions, unsigned max_sms) const {
    const cuda::GatherOptions options{reinterpret_cast<const std::int64_t*>(positions), max_sms};
    auto* const rows = reinterpret_cast<void*>(out);
    auto* const queue = reinterpret_cast<cuda::Stream>(stream);
    if (index_bytes == 4) {
      table->gather(reinterpret_cast<const std::int32_t*>(index), num_index, rows, queue, options);
    } else {
      table->gather(reinterpret_cast<const std::int64_t*>(index), num_index, rows, queue, options);
    }
  }

  std::shared_ptr<Handle> tensor;
  std::unique_ptr<cuda::Table> table;
};

cuda::Integers integers(Address address, std::size_t count, unsigned width) {
  if (width == 4) return {reinterpret_cast<const std::int32_t*>(address), count};
  return {reinterpret_cast<const std::int64_t*>(address), count};
}

/// Bags of one table, and where their results go.
struct CudaLookup {
  CudaLookup(nb::object of, Address index, std::size_t num_index, unsigned index_bytes, Address offsets,
             std::size_t num_offsets, unsigned offset_bytes, bool has_last_offset, const std::string& mode,
             Address weights, std::optional<std::uint64_t> padding_index, Address out, std::size_t out_stride)
      : table(std::move(of)) {
    request.table = nb::cast<const CudaTable&>(table).table.get();
    request.bags = {.index = integers(index, num_index, index_bytes),
                    .offsets = integers(offsets, num_offsets, offset_bytes),
                    .has_last_offset = has_last_offset,
                    .mode = pool_mode(mode),
                    .weights = reinterpret_cast<const void*>(weights),
                    .padding_index = padding_index};
    request.out = reinterpret_cast<void*>(out);
    request.out_stride = out_stride;
  }

  nb::object table;  ///< kept alive
  cuda::PoolRequest request;
};

void pool_on_gpu(const std::vector<const CudaLookup*>& lookups, Address stream, unsigned max_sms) {
  std::vector<cuda::PoolRequest> requests;
  requests.reserve(lookups.size());
  for (const CudaLookup* lookup : lookups) requests.push_back(lookup->request);
  cuda::pool(requests, reinterpret_cast<cuda::Stream>(stream), max_sms);
}

BitStatistics count(Address rows, std::uint64_t num_rows, std::uint64_t row_bytes, Address stream) {
  const nb::gil_scoped_release released;
  return cuda::count(reinterpret_cast<const void*>(rows), num_rows, row_bytes, reinterpret_cast<cuda::Stream>(stream));
}

std::tuple<int, std::string> cuda_devices() {
  std::string why_not;
  const int count = cuda::num_devices(&why_not);
  return {count, why_not};
}

}  // namespace

void bind_cuda(nb::module_& module) {
  nb::class_<CudaTable>(module, "CudaTable", "A compressed tensor for a GPU.")
      .def(nb::init<std::shared_ptr<Handle>, const std::string&, int, std::uint64_t, std::uint64_t, bool>(),
           nb::arg("tensor"), nb::arg("placement"), nb::arg("device"), nb::arg("capacity_rows"),
           nb::arg("overflow_bytes"), nb::arg("is_empty"))
      .def("gather", &CudaTable::gather, nb::arg("index"), nb::arg("num_index"), nb::arg("index_bytes"), nb::arg("out"),
           nb::arg("stream"), nb::arg("positions"), nb::arg("max_sms"))
      .def(
          "decompress",
          [](const CudaTable& self, Address out, Address stream) {
            self.table->decompress(reinterpret_cast<void*>(out), reinterpret_cast<cuda::Stream>(stream));
          },
          nb::arg("out"), nb::arg("stream"))
      .def(
          "append",
          [](CudaTable& self, Address rows, std::uint64_t num_rows, Address stream) {
            self.table->append(reinterpret_cast<const void*>(rows), num_rows, reinterpret_cast<cuda::Stream>(stream));
          },
          nb::arg("rows"), nb::arg("num_rows"), nb::arg("stream"))
      .def(
          "update",
          [](CudaTable& self, Address index, Address rows, std::uint64_t num_rows, Address stream) {
            self.table->update(reinterpret_cast<const std::int64_t*>(index), reinterpret_cast<const void*>(rows),
                               num_rows, reinterpret_cast<cuda::Stream>(stream));
          },
          nb::arg("index"), nb::arg("rows"), nb::arg("num_rows"), nb::arg("stream"))
      .def(
          "read",
          [](const CudaTable& self, Address stream) {
            const nb::gil_scoped_release released;
            return std::make_shared<Handle>(self.table->tensor(reinterpret_cast<cuda::Stream>(stream)));
          },
          nb::arg("stream"), "The table as it is now, in the host's memory.")
      .def(
          "set_fast_rows",
          [](CudaTable& self, Address slots, Address rows, std::uint64_t num_fast_rows) {
            self.table->set_fast_rows(reinterpret_cast<const std::uint32_t*>(slots),
                                      reinterpret_cast<const void*>(rows), num_fast_rows);
          },
          nb::arg("slots"), nb::arg("rows"), nb::arg("num_fast_rows"))
      .def_prop_ro("num_rows", [](const CudaTable& self) { return self.table->num_rows(); })
      .def(
          "check",
          [](const CudaTable& self, Address stream) {
            const nb::gil_scoped_release released;
            self.table->check(reinterpret_cast<cuda::Stream>(stream));
          },
          nb::arg("stream"))
      .def_prop_ro("placement",
                   [](const CudaTable& self) {
                     return std::string(kPlacements[static_cast<std::size_t>(self.table->memory().placement)]);
                   })
      .def_prop_ro("device", [](const CudaTable& self) { return self.table->memory().device; })
      .def_prop_ro("pinned_bytes", [](const CudaTable& self) { return self.table->memory().pinned_bytes; })
      .def_prop_ro("device_bytes", [](const CudaTable& self) { return self.table->memory().device_bytes; })
      .def_prop_ro("note", [](const CudaTable& self) { return self.table->memory().note; });
  nb::class_<CudaLookup>(module, "CudaLookup", "Bags of rows of a table on a GPU, and where their results go.")
      .def(nb::init<nb::object, Address, std::size_t, unsigned, Address, std::size_t, unsigned, bool,
                    const std::string&, Address, std::optional<std::uint64_t>, Address, std::size_t>(),
           nb::arg("table"), nb::arg("index"), nb::arg("num_index"), nb::arg("index_bytes"), nb::arg("offsets"),
           nb::arg("num_offsets"), nb::arg("offset_bytes"), nb::arg("has_last_offset"), nb::arg("mode"),
           nb::arg("weights"), nb::arg("padding_index").none(), nb::arg("out"), nb::arg("out_stride"));
  module.def("cuda_pool", pool_on_gpu, nb::arg("lookups"), nb::arg("stream"), nb::arg("max_sms"),
             "Pools bags of several tables, on a stream.");
  module.def("cuda_count", count, nb::arg("rows"), nb::arg("num_rows"), nb::arg("row_bytes"), nb::arg("stream"));
  module.def("cuda_devices", cuda_devices, "The number of GPUs, and why there is none.");
}

}  // namespace stillbit::python
