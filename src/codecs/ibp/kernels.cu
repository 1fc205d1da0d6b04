#include "codecs/ibp/kernels.cuh"

#include "codecs/ibp/warp.hpp"
#include "cuda/expand_kernel.cuh"

namespace stillbit::ibp {

cudaError_t expand(unsigned view_bytes, const cuda::Expansion& job, cudaStream_t stream) {
  return cuda::launch_expand<WarpCodec>(view_bytes, job, stream);
}

}  // namespace stillbit::ibp
