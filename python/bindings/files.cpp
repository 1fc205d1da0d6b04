#include "bindings.hpp"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <tuple>
#include <unordered_set>

namespace stillbit::python {
namespace {

namespace nb = nanobind;
using Path = std::filesystem::path;
using Shape = nb::typed<nb::tuple, std::uint64_t, nb::ellipsis>;

std::vector<std::pair<std::string, std::shared_ptr<Handle>>> load_tensors(const Path& path, bool mmap) {
  const LongCall call;
  std::vector<std::pair<std::string, std::shared_ptr<Handle>>> tensors;
  for (auto& [name, tensor] : load(path, {.mmap = mmap})) {
    tensors.emplace_back(name, std::make_shared<Handle>(std::move(tensor)));
  }
  return tensors;
}

/// `write` gets the tensors, which nobody changes meanwhile.
void while_locked(const std::vector<std::pair<std::string, const Handle*>>& tensors,
                  const std::function<void(const NamedTensorPointers&)>& write) {
  // A tensor that has two names is locked once.
  std::unordered_set<const Handle*> handles;
  std::deque<std::shared_lock<std::shared_mutex>> locks;
  NamedTensorPointers pointers;
  for (const auto& [name, handle] : tensors) {
    if (handles.insert(handle).second) locks.emplace_back(handle->mutex);
    pointers.emplace_back(name, &handle->tensor);
  }
  write(pointers);
}

void save_tensors(const Path& path, const std::vector<std::pair<std::string, const Handle*>>& tensors,
                  const std::map<std::string, std::string>& metadata, unsigned num_threads) {
  const LongCall call;
  while_locked(tensors, [&](const NamedTensorPointers& pointers) { save(path, pointers, metadata, num_threads); });
}

void save_shared(int descriptor, const Handle& handle) {
  const LongCall call;
  while_locked({{"", &handle}}, [&](const NamedTensorPointers& pointers) { save(descriptor, pointers); });
}

std::shared_ptr<Handle> map_shared(int descriptor) {
  const LongCall call;
  NamedTensors tensors = load(descriptor);
  if (tensors.size() != 1) throw Error(ErrorCode::kCorrupt, "the shared memory does not hold one tensor");
  return std::make_shared<Handle>(std::move(tensors[0].second));
}

std::unique_ptr<CompressedFile> open_file(const Path& path) {
  const LongCall call;
  return std::make_unique<CompressedFile>(path);
}

using Entry = nb::typed<nb::tuple, std::string, std::string, Shape, std::size_t, std::string>;

/// Plain values: an object for each tensor would take longer than expanding a small one.
nb::typed<nb::list, Entry> entries_of(const CompressedFile& file) {
  nb::list entries;
  for (const CompressedFile::Entry& entry : file.entries()) {
    entries.append(nb::make_tuple(entry.name, name(entry.tensor->dtype()), nb::tuple(nb::cast(entry.tensor->shape())),
                                  entry.tensor->raw_bytes(), entry.file));
  }
  return nb::typed<nb::list, Entry>(entries);
}

/// Number of an entry, address, bytes.
using Output = std::tuple<std::size_t, std::uintptr_t, std::size_t>;

void expand_entries(const CompressedFile& file, const std::vector<Output>& outputs, bool are_new, bool verify,
                    unsigned num_threads) {
  const LongCall call;
  std::vector<CompressedFile::Output> requests;
  requests.reserve(outputs.size());
  for (const auto& [entry, address, num_bytes] : outputs)
    requests.push_back({entry, {reinterpret_cast<std::byte*>(address), num_bytes}, are_new});
  file.decompress(requests, verify, num_threads);
}

FileInfo inspect(const Path& path) {
  const nb::gil_scoped_release released;
  return inspect_file(path);
}

FileInfo compress(const Path& input, const Path& output, const std::optional<std::string>& codec,
                  const std::optional<std::string>& packing, const std::string& objective, unsigned row_dims,
                  unsigned num_threads, const std::optional<std::string>& as_dtype, Counter* counter,
                  const Plan* plan) {
  CompressFileOptions options;
  options.tensor = compress_options(plan, codec, packing, objective, row_dims, num_threads, counter);
  if (as_dtype) options.as = dtype_of(*as_dtype);
  const LongCall call;
  return compress_file(input, output, options);
}

/// Name, address, dtype, shape, and whether it is mapped.
using Array = std::tuple<std::string, std::uintptr_t, std::string, std::vector<std::uint64_t>, bool>;

FileInfo compress_arrays(const std::vector<Array>& arrays, const Path& output,
                         const std::map<std::string, std::string>& metadata, const std::optional<std::string>& codec,
                         const std::optional<std::string>& packing, const std::string& objective, unsigned row_dims,
                         unsigned num_threads, Counter* counter, const Plan* plan) {
  std::vector<NamedView> views;
  for (const auto& [name, address, dtype, shape, is_mapped] : arrays)
    views.push_back({name, {reinterpret_cast<const void*>(address), dtype_of(dtype), shape}, is_mapped});
  const CompressOptions options = compress_options(plan, codec, packing, objective, row_dims, num_threads, counter);
  const LongCall call;
  return compress_to_file(views, output, options, metadata);
}

void decompress(const Path& input, const Path& output, unsigned num_threads, Counter* counter) {
  const LongCall call;
  decompress_file(input, output, {num_threads, Counter::progress(counter)});
}

void verify(const Path& path, const std::optional<Path>& against, unsigned num_threads, Counter* counter) {
  const LongCall call;
  verify_file(path, against, {num_threads, Counter::progress(counter)});
}

std::uint64_t bytes_of(const Path& path) {
  const nb::gil_scoped_release released;
  return total_bytes(path);
}

template <class T>
std::optional<std::string> name_of(const std::optional<T>& value) {
  return value ? std::optional(std::string(name(*value))) : std::nullopt;
}

void bind_info(const nb::module_& module) {
  nb::class_<TensorInfo>(module, "TensorInfo", "What is known of a tensor in a file without decompressing it.")
      .def_ro("name", &TensorInfo::name)
      .def_prop_ro(
          "dtype", [](const TensorInfo& info) { return std::string(name(info.dtype)); }, "As in safetensors: \"BF16\".")
      .def_prop_ro("shape", [](const TensorInfo& info) { return Shape(nb::tuple(nb::cast(info.shape))); })
      .def_prop_ro(
          "codec", [](const TensorInfo& info) { return name_of(info.codec); }, "None in an ordinary file.")
      .def_prop_ro(
          "packing", [](const TensorInfo& info) { return name_of(info.packing); }, "None in an ordinary file.")
      .def_ro("raw_bytes", &TensorInfo::raw_bytes, "Of the tensor itself.")
      .def_ro("stored_bytes", &TensorInfo::stored_bytes, "Of all that is stored for it.")
      .def_ro("metadata_bytes", &TensorInfo::metadata_bytes, "Of these, what is not rows.")
      .def_ro("transfer_ratio", &TensorInfo::transfer_ratio)
      .def_prop_ro(
          "prices",
          [](const TensorInfo& info) {
            std::map<std::string, std::uint64_t> prices;
            for (const CodecPrice& price : info.prices) prices[std::string(name(price.codec))] = price.stored_bytes;
            return prices;
          },
          "Codecs that were considered, and the bytes each would take.")
      .def_prop_ro("ratio", &TensorInfo::ratio)
      .def("__repr__", [](const TensorInfo& info) { return "TensorInfo(" + info.name + ")"; });
  nb::class_<FileInfo>(module, "FileInfo", "What is in a file, compressed or not.")
      .def_ro("tensors", &FileInfo::tensors)
      .def_ro("raw_bytes", &FileInfo::raw_bytes, "Of the tensors themselves.")
      .def_ro("stored_bytes", &FileInfo::stored_bytes, "Of the tensors; what they share is counted once.")
      .def_ro("file_bytes", &FileInfo::file_bytes, "Of the file or files on disk.")
      .def_ro("metadata", &FileInfo::metadata, "What the file's writer noted in it.")
      .def_prop_ro("ratio", &FileInfo::ratio)
      .def("__repr__", [](const FileInfo& info) {
        return "FileInfo(" + std::to_string(info.tensors.size()) + " tensors, " + std::to_string(info.raw_bytes) +
               " bytes in " + std::to_string(info.stored_bytes) + ")";
      });
}

void bind_compressed_file(const nb::module_& module) {
  nb::class_<CompressedFile>(module, "CompressedFile", "A compressed file whose tensors are expanded many at once.")
      .def(nb::new_(&open_file), nb::arg("path"))
      .def_prop_ro("entries", entries_of, "Name, dtype, shape, bytes and file of each tensor.")
      .def("decompress", expand_entries, nb::arg("outputs"), nb::arg("are_new"), nb::arg("verify"),
           nb::arg("num_threads"), "Outputs: number of an entry, address, bytes.");
}

}  // namespace

void bind_files(nb::module_& module) {
  bind_info(module);
  bind_compressed_file(module);
  module.def("load", load_tensors, nb::arg("path"), nb::arg("mmap"));
  module.def("save", save_tensors, nb::arg("path"), nb::arg("tensors"), nb::arg("metadata"), nb::arg("num_threads"));
  module.def("save_shared", save_shared, nb::arg("descriptor"), nb::arg("tensor"),
             "Writes a tensor to an empty file that is open.");
  module.def("map_shared", map_shared, nb::arg("descriptor"), "Maps what save_shared wrote.");
  module.def("inspect_file", inspect, nb::arg("path"));
  module.def("total_bytes", bytes_of, nb::arg("path"));
  module.def("compress_file", compress, nb::arg("input"), nb::arg("output"), nb::arg("codec").none(),
             nb::arg("packing").none(), nb::arg("objective"), nb::arg("row_dims"), nb::arg("num_threads"),
             nb::arg("as_dtype").none(), nb::arg("counter").none(), nb::arg("plan").none());
  module.def("compress_to_file", compress_arrays, nb::arg("arrays"), nb::arg("output"), nb::arg("metadata"),
             nb::arg("codec").none(), nb::arg("packing").none(), nb::arg("objective"), nb::arg("row_dims"),
             nb::arg("num_threads"), nb::arg("counter").none(), nb::arg("plan").none());
  module.def("decompress_file", decompress, nb::arg("input"), nb::arg("output"), nb::arg("num_threads"),
             nb::arg("counter").none());
  module.def("verify_file", verify, nb::arg("path"), nb::arg("against").none(), nb::arg("num_threads"),
             nb::arg("counter").none());
}

}  // namespace stillbit::python
