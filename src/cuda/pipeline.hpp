#pragma once

#include "core/result.hpp"
#include "cuda/memory.hpp"
#include "cuda/pieces.hpp"

#include <cuda_runtime_api.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

namespace stillbit::cuda {

/// Moves pieces of pinned memory to a GPU with the copy engine, and has each worked on while the next one is moved: two
/// buffers, a stream of its own for the copies, and events that order it with the caller's.
class Pipeline {
 public:
  /// On the current GPU, for pieces of up to `piece_bytes`.
  static Result<std::unique_ptr<Pipeline>> create(std::uint64_t piece_bytes);
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  ~Pipeline();

  /// For each piece of `rows`, in `memory`, puts what `work(piece, data)` launches behind the piece's arrival on
  /// `stream`.
  using Work = std::function<Result<void>(const Piece& piece, const std::byte* data)>;
  Result<void> run(const PinnedMemory& memory, const std::byte* rows, const std::vector<Piece>& pieces,
                   cudaStream_t stream, const Work& work);

 private:
  Pipeline() = default;

  struct Stage {
    DeviceMemory memory;
    cudaEvent_t has_arrived = nullptr;
    cudaEvent_t is_free = nullptr;
  };
  std::array<Stage, 2> stages_;
  cudaStream_t copies_ = nullptr;
};

}  // namespace stillbit::cuda
