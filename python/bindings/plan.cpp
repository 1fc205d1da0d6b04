#include "bindings.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>

namespace stillbit::python {
namespace {

namespace nb = nanobind;

using Address = std::uintptr_t;

std::span<const std::byte> bytes_at(Address address, std::size_t num_bytes) {
  return {reinterpret_cast<const std::byte*>(address), num_bytes};
}

std::vector<std::pair<std::string, std::uint64_t>> prices(const Plan& plan) {
  std::vector<std::pair<std::string, std::uint64_t>> named;
  for (const CodecPrice& price : plan.prices()) named.emplace_back(name(price.codec), price.stored_bytes);
  return named;
}

/// A plan for an array; with `num_rows`, for so many rows of which it is a sample.
Plan make_plan(Address address, const std::string& dtype, const std::vector<std::uint64_t>& shape,
               const std::optional<std::string>& codec, const std::optional<std::string>& packing,
               const std::string& objective, unsigned row_dims, unsigned num_threads,
               std::optional<std::uint64_t> num_rows, const BitStatistics* statistics) {
  const TensorView view{reinterpret_cast<const void*>(address), dtype_of(dtype), shape};
  const CompressOptions options = compress_options(codec, packing, objective, row_dims, num_threads, nullptr);
  const LongCall call;
  return num_rows ? plan(view, options, {*num_rows, statistics}) : plan(view, options);
}

void add_rows(BitStatistics& statistics, Address address, std::size_t num_bytes) {
  const LongCall call;
  statistics.add(bytes_at(address, num_bytes));
}

/// Of a copy of the counts: `out` has room for eight numbers for each byte of a row.
void read_ones(const BitStatistics& statistics, Address out) {
  const std::vector<std::uint64_t> ones = statistics.ones();
  std::memcpy(reinterpret_cast<void*>(out), ones.data(), ones.size() * sizeof(std::uint64_t));
}

BitStatistics from_ones(std::uint64_t num_rows, Address ones, std::size_t num_ones) {
  const auto* counts = reinterpret_cast<const std::uint64_t*>(ones);
  return {num_rows, std::vector<std::uint64_t>(counts, counts + num_ones)};
}

}  // namespace

void bind_plan(nb::module_& module) {
  nb::class_<BitStatistics>(module, "BitStatistics", "Counts of ones.")
      .def(nb::init<std::uint64_t>(), nb::arg("row_bytes"))
      .def_static("from_ones", from_ones, nb::arg("num_rows"), nb::arg("ones"), nb::arg("num_ones"))
      .def("add", add_rows, nb::arg("address"), nb::arg("num_bytes"))
      .def("merge", &BitStatistics::merge, nb::arg("other"))
      .def("read_ones", read_ones, nb::arg("out"))
      .def_prop_ro("row_bytes", &BitStatistics::row_bytes)
      .def_prop_ro("num_rows", &BitStatistics::num_rows);
  nb::class_<Plan>(module, "Plan", "How rows are going to be stored.")
      .def_prop_ro("dtype", [](const Plan& plan) { return name(plan.dtype()); })
      .def_prop_ro("row_shape", &Plan::row_shape)
      .def_prop_ro("row_bytes", &Plan::row_bytes)
      .def_prop_ro("codec", [](const Plan& plan) { return name(plan.codec()); })
      .def_prop_ro("packing", [](const Plan& plan) { return name(plan.packing()); })
      .def_prop_ro("objective", [](const Plan& plan) { return name(plan.objective()); })
      .def_prop_ro("num_rows", &Plan::num_rows)
      .def_prop_ro("prices", prices)
      .def_prop_ro("tile_bytes", &Plan::tile_bytes)
      .def_prop_ro("stride", &Plan::stride)
      .def_prop_ro("plan_bytes", &Plan::plan_bytes)
      .def_prop_ro("stores_repeats_once", &Plan::stores_repeats_once)
      .def("to_json", &Plan::to_json)
      .def_static("from_json", &Plan::from_json, nb::arg("text"));
  module.def("plan", make_plan, nb::arg("address"), nb::arg("dtype"), nb::arg("shape"), nb::arg("codec").none(),
             nb::arg("packing").none(), nb::arg("objective"), nb::arg("row_dims"), nb::arg("num_threads"),
             nb::arg("num_rows").none(), nb::arg("statistics").none());
  module.def(
      "counted_row_bytes",
      [](const std::string& dtype, std::uint64_t row_bytes) { return counted_row_bytes(dtype_of(dtype), row_bytes); },
      nb::arg("dtype"), nb::arg("row_bytes"), "What statistics count as a row.");
}

}  // namespace stillbit::python
