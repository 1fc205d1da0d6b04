#include "codecs/rans/kernels.cuh"

#include "codecs/rans/warp.hpp"
#include "cuda/expand_kernel.cuh"

namespace stillbit::rans {

cudaError_t expand(unsigned view_bytes, const cuda::Expansion& job, cudaStream_t stream) {
  return cuda::launch_expand<WarpCodec>(view_bytes, job, stream);
}

}  // namespace stillbit::rans
