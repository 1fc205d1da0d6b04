#include "bindings.hpp"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <optional>
#include <shared_mutex>
#include <span>

namespace stillbit::python {
namespace {

namespace nb = nanobind;

using Address = std::uintptr_t;

template <class T>
std::span<T> memory(Address address, std::size_t count) {
  return {reinterpret_cast<T*>(address), count};
}

TierOptions options_of(std::uint64_t fast_bytes, std::optional<std::uint64_t> warm_bytes, bool is_static,
                       double prefetch_share) {
  return {.fast_bytes = fast_bytes,
          .warm_bytes = warm_bytes,
          .policy = is_static ? TierPolicy::kStatic : TierPolicy::kTinyLfu,
          .prefetch_share = prefetch_share};
}

/// Of a tensor that nobody else has, it takes what is in it; any other it copies, or shares if it is mapped.
void make(TieredTable* self, Handle& handle, bool takes, std::uint64_t fast_bytes,
          std::optional<std::uint64_t> warm_bytes, bool is_static, double prefetch_share) {
  const TierOptions options = options_of(fast_bytes, warm_bytes, is_static, prefetch_share);
  const LongCall call;
  if (takes) {
    new (self) TieredTable(std::move(handle.tensor), options);
    return;
  }
  const std::shared_lock lock(handle.mutex);
  new (self) TieredTable(handle.tensor, options);
}

void make_from_file(TieredTable* self, const std::filesystem::path& path, const std::string& name,
                    std::uint64_t fast_bytes, std::optional<std::uint64_t> warm_bytes, bool is_static,
                    double prefetch_share) {
  const LongCall call;
  new (self) TieredTable(TieredTable::open(path, name, options_of(fast_bytes, warm_bytes, is_static, prefetch_share)));
}

void gather(const TieredTable& table, Address index, std::size_t num_index, unsigned index_bytes, Address out,
            std::size_t out_bytes, unsigned num_threads) {
  const LongCall call;
  const std::span rows = memory<std::byte>(out, out_bytes);
  if (index_bytes == 4) {
    table.gather(memory<const std::int32_t>(index, num_index), rows, num_threads);
  } else {
    table.gather(memory<const std::int64_t>(index, num_index), rows, num_threads);
  }
}

void decompress(const TieredTable& table, Address out, std::size_t out_bytes, unsigned num_threads) {
  const LongCall call;
  table.decompress(memory<std::byte>(out, out_bytes), num_threads);
}

void update(TieredTable& table, Address index, std::size_t num_index, Address rows, std::size_t rows_bytes) {
  const nb::gil_scoped_release released;
  table.update(memory<const std::int64_t>(index, num_index), memory<const std::byte>(rows, rows_bytes));
}

std::uint64_t prefetch(TieredTable& table, Address index, std::size_t num_index, bool in_background) {
  const nb::gil_scoped_release released;
  return table.prefetch(memory<const std::int64_t>(index, num_index), in_background);
}

void place(TieredTable& table, Address counts, std::size_t num_counts) {
  const nb::gil_scoped_release released;
  table.place(memory<const std::uint64_t>(counts, num_counts));
}

TieredStatistics statistics(const TieredTable& table) {
  const nb::gil_scoped_release released;
  return table.statistics();
}

void bind_statistics(const nb::module_& module) {
  nb::class_<TierStatistics>(module, "TierStatistics", "What a tier did, and what it holds.")
      .def_ro("num_lookups", &TierStatistics::num_lookups)
      .def_ro("bytes_read", &TierStatistics::bytes_read)
      .def_ro("num_filled", &TierStatistics::num_filled)
      .def_ro("num_evicted", &TierStatistics::num_evicted)
      .def_ro("num_rows", &TierStatistics::num_rows)
      .def_ro("max_rows", &TierStatistics::max_rows)
      .def_ro("bytes", &TierStatistics::bytes)
      .def_ro("budget_bytes", &TierStatistics::budget_bytes);
  nb::class_<TieredStatistics>(module, "TieredStatistics", "What the tiers of a table did, and what they hold.")
      .def_ro("fast", &TieredStatistics::fast)
      .def_ro("warm", &TieredStatistics::warm)
      .def_ro("cold", &TieredStatistics::cold)
      .def_ro("num_prefetched", &TieredStatistics::num_prefetched)
      .def_ro("num_prefetch_hits", &TieredStatistics::num_prefetch_hits)
      .def_ro("num_updated", &TieredStatistics::num_updated)
      .def_ro("num_updated_held", &TieredStatistics::num_updated_held);
}

}  // namespace

void bind_tiers(const nb::module_& module) {
  bind_statistics(module);
  const auto released = nb::call_guard<nb::gil_scoped_release>();
  nb::class_<TieredTable>(module, "TieredTable", "A table of rows in tiers.")
      .def("__init__", make, nb::arg("tensor"), nb::arg("takes"), nb::arg("fast_bytes"), nb::arg("warm_bytes").none(),
           nb::arg("is_static"), nb::arg("prefetch_share"))
      .def("__init__", make_from_file, nb::arg("path"), nb::arg("name"), nb::arg("fast_bytes"),
           nb::arg("warm_bytes").none(), nb::arg("is_static"), nb::arg("prefetch_share"))
      .def_prop_ro("dtype", [](const TieredTable& table) { return name(table.dtype()); })
      .def_prop_ro("shape", [](const TieredTable& table) { return table.shape(); })
      .def_prop_ro("row_dims", &TieredTable::row_dims)
      .def_prop_ro("row_bytes", &TieredTable::row_bytes)
      .def_prop_ro("raw_bytes", &TieredTable::raw_bytes)
      .def("gather", gather, nb::arg("index"), nb::arg("num_index"), nb::arg("index_bytes"), nb::arg("out"),
           nb::arg("out_bytes"), nb::arg("num_threads"))
      .def("decompress", decompress, nb::arg("out"), nb::arg("out_bytes"), nb::arg("num_threads"))
      .def("update", update, nb::arg("index"), nb::arg("num_index"), nb::arg("rows"), nb::arg("rows_bytes"))
      .def("prefetch", prefetch, nb::arg("index"), nb::arg("num_index"), nb::arg("in_background"))
      .def("wait_for_prefetches", &TieredTable::wait_for_prefetches, released)
      .def("place", place, nb::arg("counts"), nb::arg("num_counts"))
      .def("statistics", statistics)
      .def("reset_statistics", &TieredTable::reset_statistics, released)
      .def("close", &TieredTable::close, released);
}

}  // namespace stillbit::python
