#pragma once

#include "cuda/launch.hpp"
#include "cuda/pieces.hpp"
#include "warp/pool.hpp"
#include "warp/slots.hpp"
#include "warp/table.hpp"

#include <stillbit/cuda.hpp>
#include <stillbit/error.hpp>
#include <stillbit/options.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

// What the core knows of the library with the CUDA code, which it loads when a GPU is first asked for. Plain structures
// and functions: nothing here needs CUDA to compile.

namespace stillbit::cuda {

/// Changes with anything in this file: core and library must be of one build.
inline constexpr std::uint32_t kBackendVersion = 3;
inline constexpr const char* kBackendSymbol = "stillbit_cuda_backend";

/// Why a call failed.
struct Failure {
  ErrorCode code = ErrorCode::kDevice;
  char message[500] = {};
};

/// A compressed tensor in the host's memory; read while the table is made, and, with Placement::kInPlace, as long as
/// the table lives.
struct TableSource {
  warp::Table table;  ///< with pointers to the host's memory
  std::uint64_t map_bytes = 0;
  std::uint64_t index_bytes = 0;
  Codec codec = Codec::kRaw;
  unsigned view_bytes = 1;
  std::uint32_t tiles_per_row = 1;
  const std::byte* plan = nullptr;
  std::uint64_t plan_bytes = 0;
  const std::byte* encode_plan = nullptr;
  std::uint64_t encode_plan_bytes = 0;
  std::optional<warp::Element> element;     ///< what rows are pooled as, where they can be
  std::uint64_t piece_bytes = kPieceBytes;  ///< what the copy engine moves at a time
};

struct GatherJob {
  const void* index = nullptr;
  bool is_wide_index = true;
  std::uint64_t num_index = 0;
  const std::int64_t* positions = nullptr;
  void* out = nullptr;
  void* stream = nullptr;
  std::uint32_t max_sms = 0;
};

class DeviceTable;

/// Bags of a table. Of the request, the table fills in tiles_per_row.
struct PoolJob {
  DeviceTable* table = nullptr;
  warp::BagRequest request;
};

/// Functions that can fail return false, or null, and say why.
struct Backend {
  std::uint32_t version = kBackendVersion;
  bool (*count_devices)(int* count, Failure* failure) = nullptr;
  /// Counts the ones of each bit of a row, into memory of the host. Waits for the stream.
  bool (*count_bits)(const void* rows, std::uint64_t num_rows, std::uint64_t row_bytes, std::uint64_t* ones,
                     void* stream, Failure* failure) = nullptr;
  DeviceTable* (*create)(const TableSource& source, const TableOptions& options, Failure* failure) = nullptr;
  void (*destroy)(DeviceTable* table) = nullptr;
  TableMemory (*memory)(const DeviceTable* table) = nullptr;
  bool (*gather)(DeviceTable* table, const GatherJob& job, Failure* failure) = nullptr;
  bool (*set_fast_rows)(DeviceTable* table, const std::uint32_t* slots, const std::byte* rows,
                        std::uint64_t num_fast_rows, Failure* failure) = nullptr;
  bool (*pool)(const PoolJob* jobs, std::uint64_t num_jobs, std::uint32_t max_sms, void* stream,
               Failure* failure) = nullptr;
  bool (*decompress)(DeviceTable* table, void* out, void* stream, Failure* failure) = nullptr;
  /// Waits, too; `status` is what went wrong since the last call.
  bool (*append)(DeviceTable* table, const void* rows, std::uint64_t num_rows, void* stream,
                 Failure* failure) = nullptr;
  bool (*update)(DeviceTable* table, const std::int64_t* index, const void* rows, std::uint64_t num_rows, void* stream,
                 Failure* failure) = nullptr;
  /// These wait for the stream.
  bool (*overflow_use)(const DeviceTable* table, void* stream, warp::OverflowUse* use, Failure* failure) = nullptr;
  bool (*read_back)(const DeviceTable* table, std::byte* rows, std::uint64_t rows_bytes, std::byte* overflow,
                    std::uint64_t overflow_bytes, void* stream, Failure* failure) = nullptr;
  bool (*check)(DeviceTable* table, void* stream, warp::Status* status, Failure* failure) = nullptr;
};

}  // namespace stillbit::cuda
