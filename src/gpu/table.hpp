#pragma once

#include "api/compressed_tensor.hpp"
#include "cuda/backend.hpp"

#include <stillbit/cuda.hpp>

#include <memory>

namespace stillbit::cuda {

[[noreturn]] inline void fail(const Failure& failure) {
  throw Error(failure.code, failure.message);
}

struct Table::Impl {
  const Backend& backend;
  DeviceTable* table;
  TableMemory memory;
  format::PayloadHeader header;  ///< of the tensor as it is now, but for its overflow area
  std::shared_ptr<const RowCodec> codec;
  std::uint64_t num_rows;

  Impl(const Backend& loaded, DeviceTable* made, const CompressedTensor::Impl& source, std::uint64_t rows)
      : backend(loaded),
        table(made),
        memory(loaded.memory(made)),
        header(source.header),
        codec(source.codec),
        num_rows(rows) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { backend.destroy(table); }

  template <class Index>
  void gather(const Index* index, std::uint64_t num_index, void* out, Stream stream,
              const GatherOptions& options) const {
    Failure failure;
    const GatherJob job{.index = index,
                        .is_wide_index = sizeof(Index) == 8,
                        .num_index = num_index,
                        .positions = options.positions,
                        .out = out,
                        .stream = stream,
                        .max_sms = options.max_sms};
    if (!backend.gather(table, job, &failure)) fail(failure);
  }
};

}  // namespace stillbit::cuda
