#include "cuda/pipeline.hpp"

#include "cuda/status.hpp"

namespace stillbit::cuda {

Result<std::unique_ptr<Pipeline>> Pipeline::create(std::uint64_t piece_bytes) {
  std::unique_ptr<Pipeline> pipeline(new Pipeline());
  STILLBIT_CUDA(cudaStreamCreateWithFlags(&pipeline->copies_, cudaStreamNonBlocking));
  for (Stage& stage : pipeline->stages_) {
    STILLBIT_TRY(stage.memory, DeviceMemory::allocate(piece_bytes));
    STILLBIT_CUDA(cudaEventCreateWithFlags(&stage.has_arrived, cudaEventDisableTiming));
    STILLBIT_CUDA(cudaEventCreateWithFlags(&stage.is_free, cudaEventDisableTiming));
  }
  return pipeline;
}

Pipeline::~Pipeline() {
  for (const Stage& stage : stages_) {
    if (stage.has_arrived != nullptr) (void)cudaEventDestroy(stage.has_arrived);
    if (stage.is_free != nullptr) (void)cudaEventDestroy(stage.is_free);
  }
  if (copies_ != nullptr) (void)cudaStreamDestroy(copies_);
}

Result<void> Pipeline::run(const PinnedMemory& memory, const std::byte* rows, const std::vector<Piece>& pieces,
                           cudaStream_t stream, const Work& work) {
  // What the caller put on the stream before comes first: it may still work on a buffer.
  for (const Stage& stage : stages_) STILLBIT_CUDA(cudaEventRecord(stage.is_free, stream));
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    const Stage& stage = stages_[i % stages_.size()];
    STILLBIT_CUDA(cudaStreamWaitEvent(copies_, stage.is_free, 0));
    STILLBIT_CHECK(copy_async(stage.memory.data(), memory, rows + piece.begin, piece.end - piece.begin,
                              cudaMemcpyHostToDevice, copies_));
    STILLBIT_CUDA(cudaEventRecord(stage.has_arrived, copies_));
    STILLBIT_CUDA(cudaStreamWaitEvent(stream, stage.has_arrived, 0));
    STILLBIT_CHECK(work(piece, stage.memory.data()));
    STILLBIT_CUDA(cudaEventRecord(stage.is_free, stream));
  }
  return {};
}

}  // namespace stillbit::cuda
