#include "bindings.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <span>

namespace stillbit::python {
namespace {

namespace nb = nanobind;
using namespace published;

using Address = std::uintptr_t;
using IndexArray = std::optional<std::pair<Address, std::size_t>>;

template <class T>
std::span<T> memory(Address address, std::size_t count) {
  return {reinterpret_cast<T*>(address), count};
}

/// A matrix in memory.
struct Rows {
  Address address;
  std::uint64_t num_rows;
  std::uint64_t row_words;
  unsigned word_bytes;

  [[nodiscard]] std::uint64_t num_bytes() const { return num_rows * row_words * word_bytes; }

  template <class Byte>
  [[nodiscard]] BasicTable<Byte> table() const {
    return {memory<Byte>(address, num_bytes()), num_rows, row_words, word_bytes};
  }
};

/// Masks and values, and the cluster of each row where there are several.
struct RowMasks {
  Address mask;
  Address value;
  std::size_t num_bytes;  ///< of each
  Address clusters;
  std::size_t num_clusters;

  [[nodiscard]] Masks masks() const {
    return {memory<const std::byte>(mask, num_bytes), memory<const std::byte>(value, num_bytes),
            memory<const std::int32_t>(clusters, num_clusters)};
  }
};

Index index_of(const IndexArray& index) {
  if (!index) return std::nullopt;
  return memory<const std::int64_t>(index->first, index->second);
}

std::vector<std::pair<double, std::uint64_t>> masks_of(const Rows& rows, std::optional<double> threshold, Address mask,
                                                       Address value) {
  const nb::gil_scoped_release released;
  const std::size_t row_bytes = rows.row_words * rows.word_bytes;
  std::vector<std::pair<double, std::uint64_t>> priced;
  for (const PricedThreshold& found :
       find_masks(rows.table<const std::byte>(), threshold, memory<std::byte>(mask, row_bytes),
                  memory<std::byte>(value, row_bytes))) {
    priced.emplace_back(found.threshold, found.stored_bytes);
  }
  return priced;
}

std::vector<std::uint64_t> clusters_of(const Rows& rows, std::uint64_t num_clusters, std::optional<double> threshold,
                                       std::uint64_t seed, Address mask, Address value, Address clusters) {
  const nb::gil_scoped_release released;
  const std::size_t num_bytes = num_clusters * rows.row_words * rows.word_bytes;
  return find_clusters(rows.table<const std::byte>(), num_clusters, threshold, seed, memory<std::byte>(mask, num_bytes),
                       memory<std::byte>(value, num_bytes), memory<std::int32_t>(clusters, rows.num_rows));
}

void sizes_of(const Rows& rows, const RowMasks& masks, const IndexArray& index, Address sizes) {
  const nb::gil_scoped_release released;
  measure(rows.table<const std::byte>(), masks.masks(), index_of(index),
          memory<std::int64_t>(sizes, index ? index->second : rows.num_rows));
}

void in_place(const Rows& rows, const RowMasks& masks, const IndexArray& index, Address bitmask,
              std::size_t bitmask_words) {
  const nb::gil_scoped_release released;
  compress_in_place(rows.table<std::byte>(), masks.masks(), index_of(index),
                    memory<std::uint32_t>(bitmask, bitmask_words));
}

void condensed(const Rows& rows, const RowMasks& masks, const IndexArray& index, Address ends, Address out,
               std::size_t out_bytes) {
  const nb::gil_scoped_release released;
  compress_condensed(rows.table<const std::byte>(), masks.masks(), index_of(index),
                     memory<const std::int64_t>(ends, index ? index->second : rows.num_rows),
                     memory<std::byte>(out, out_bytes));
}

std::size_t bytes_out(const Rows& rows, const IndexArray& index) {
  return (index ? index->second : rows.num_rows) * rows.row_words * rows.word_bytes;
}

void expand_in_place(const Rows& rows, const RowMasks& masks, Address bitmask, std::size_t bitmask_words,
                     const IndexArray& index, Address out) {
  const nb::gil_scoped_release released;
  decompress_in_place(rows.table<const std::byte>(), masks.masks(), memory<const std::uint32_t>(bitmask, bitmask_words),
                      index_of(index), memory<std::byte>(out, bytes_out(rows, index)));
}

/// `condensed` is a matrix of any shape: it tells where the bytes are, and the width of the words.
void expand_condensed(const Rows& condensed, std::uint64_t num_rows, std::uint64_t row_words, const RowMasks& masks,
                      Address ends, const IndexArray& index, Address out) {
  const nb::gil_scoped_release released;
  const Rows rows{condensed.address, num_rows, row_words, condensed.word_bytes};
  decompress_condensed(condensed.table<const std::byte>().bytes, memory<const std::int64_t>(ends, num_rows),
                       {{}, num_rows, row_words, rows.word_bytes}, masks.masks(), index_of(index),
                       memory<std::byte>(out, bytes_out(rows, index)));
}

}  // namespace

void bind_ibp(nb::module_& module) {
  nb::class_<Rows>(module, "IbpRows", "A matrix of words in memory.")
      .def(nb::init<Address, std::uint64_t, std::uint64_t, unsigned>(), nb::arg("address"), nb::arg("num_rows"),
           nb::arg("row_words"), nb::arg("word_bytes"));
  nb::class_<RowMasks>(module, "IbpMasks", "Masks and values, and the cluster of each row; no clusters: one mask.")
      .def(nb::init<Address, Address, std::size_t, Address, std::size_t>(), nb::arg("mask"), nb::arg("value"),
           nb::arg("num_bytes"), nb::arg("clusters"), nb::arg("num_clusters"));
  module.def("ibp_find_masks", masks_of, nb::arg("rows"), nb::arg("threshold").none(), nb::arg("mask"),
             nb::arg("value"), "Thresholds, and the bytes that the rows take with each.");
  module.def("ibp_find_clusters", clusters_of, nb::arg("rows"), nb::arg("num_clusters"), nb::arg("threshold").none(),
             nb::arg("seed"), nb::arg("mask"), nb::arg("value"), nb::arg("clusters"),
             "The bytes that the rows take after each round.");
  module.def("ibp_measure", sizes_of, nb::arg("rows"), nb::arg("masks"), nb::arg("index").none(), nb::arg("sizes"));
  module.def("ibp_compress_in_place", in_place, nb::arg("rows"), nb::arg("masks"), nb::arg("index").none(),
             nb::arg("bitmask"), nb::arg("bitmask_words"));
  module.def("ibp_compress_condensed", condensed, nb::arg("rows"), nb::arg("masks"), nb::arg("index").none(),
             nb::arg("ends"), nb::arg("out"), nb::arg("out_bytes"));
  module.def("ibp_decompress_in_place", expand_in_place, nb::arg("rows"), nb::arg("masks"), nb::arg("bitmask"),
             nb::arg("bitmask_words"), nb::arg("index").none(), nb::arg("out"));
  module.def("ibp_decompress_condensed", expand_condensed, nb::arg("condensed"), nb::arg("num_rows"),
             nb::arg("row_words"), nb::arg("masks"), nb::arg("ends"), nb::arg("index").none(), nb::arg("out"));
}

}  // namespace stillbit::python
