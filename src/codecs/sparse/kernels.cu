#include "codecs/sparse/kernels.cuh"

#include "codecs/sparse/warp.hpp"
#include "cuda/expand_kernel.cuh"
#include "cuda/pool_kernel.cuh"

namespace stillbit::sparse {

cudaError_t expand(unsigned view_bytes, const cuda::Expansion& job, cudaStream_t stream) {
  return cuda::launch_expand<WarpCodec>(view_bytes, job, stream);
}

cudaError_t pool(unsigned view_bytes, const cuda::BagJob& job, cudaStream_t stream) {
  return cuda::launch_pool<WarpCodec>(view_bytes, job, stream);
}

}  // namespace stillbit::sparse
