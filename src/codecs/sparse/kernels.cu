#include "codecs/sparse/kernels.cuh"

#include "codecs/sparse/warp.hpp"
#include "cuda/expand_kernel.cuh"

namespace stillbit::sparse {

cudaError_t expand(unsigned view_bytes, const cuda::Expansion& job, cudaStream_t stream) {
  return cuda::launch_expand<WarpCodec>(view_bytes, job, stream);
}

}  // namespace stillbit::sparse
