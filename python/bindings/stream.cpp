#include "bindings.hpp"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <map>
#include <optional>

namespace stillbit::python {
namespace {

namespace nb = nanobind;

using Address = std::uintptr_t;

std::span<const std::byte> bytes_at(Address address, std::size_t num_bytes) {
  return {reinterpret_cast<const std::byte*>(address), num_bytes};
}

/// A writer that can be given up, and its temporary file with it, before Python frees it.
struct Writer {
  std::optional<StreamWriter> writer;

  StreamWriter& open() {
    if (writer) return *writer;
    throw Error(ErrorCode::kInvalidArgument, "the file is closed");
  }
};

void bind_scan(nb::module_& module) {
  nb::class_<RowScan>(module, "RowScan", "A first look at a tensor that comes in chunks.")
      .def(
          "__init__",
          [](RowScan* self, const std::string& dtype, const std::vector<std::uint64_t>& entry_shape, unsigned row_dims,
             unsigned num_threads) { new (self) RowScan(dtype_of(dtype), entry_shape, row_dims, num_threads); },
          nb::arg("dtype"), nb::arg("entry_shape"), nb::arg("row_dims"), nb::arg("num_threads"))
      .def(
          "add",
          [](RowScan& scan, Address address, std::size_t num_bytes) {
            const LongCall call;
            scan.add(bytes_at(address, num_bytes));
          },
          nb::arg("address"), nb::arg("num_bytes"))
      .def(
          "plan",
          [](const RowScan& scan, const std::optional<std::string>& codec, const std::optional<std::string>& packing,
             const std::string& objective, unsigned num_threads) {
            const CompressOptions options = compress_options(codec, packing, objective, 1, num_threads, nullptr);
            const LongCall call;
            return scan.plan(options);
          },
          nb::arg("codec").none(), nb::arg("packing").none(), nb::arg("objective"), nb::arg("num_threads"))
      .def_prop_ro("dtype", [](const RowScan& scan) { return name(scan.dtype()); })
      .def_prop_ro("shape", &RowScan::shape)
      .def_prop_ro("num_rows", &RowScan::num_rows)
      .def_prop_ro("statistics", &RowScan::statistics, nb::rv_policy::copy)
      .def("sample", [](const RowScan& scan) { return nb::bytes(scan.sample().data(), scan.sample().size()); });
}

}  // namespace

void bind_stream(nb::module_& module) {
  bind_scan(module);
  nb::class_<Writer>(module, "StreamWriter", "Compresses tensors to a file chunk by chunk.")
      .def(
          "__init__",
          [](Writer* self, const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
             unsigned num_threads, Counter* counter) {
            new (self) Writer{StreamWriter(path, metadata, num_threads, Counter::progress(counter))};
          },
          nb::arg("path"), nb::arg("metadata"), nb::arg("num_threads"), nb::arg("counter").none())
      .def(
          "declare",
          [](Writer& self, const std::string& name, const RowScan& scan, const Plan& plan) {
            self.open().declare(name, scan, plan);
          },
          nb::arg("name"), nb::arg("scan"), nb::arg("plan"))
      .def("begin", [](Writer& self) { self.open().begin(); })
      .def(
          "write",
          [](Writer& self, Address address, std::size_t num_bytes) {
            const LongCall call;
            self.open().write(bytes_at(address, num_bytes));
          },
          nb::arg("address"), nb::arg("num_bytes"))
      .def("end",
           [](Writer& self) {
             const LongCall call;
             return self.open().end();
           })
      .def("commit",
           [](Writer& self) {
             const LongCall call;
             self.open().commit();
           })
      .def("close", [](Writer& self) { self.writer.reset(); });
}

}  // namespace stillbit::python
