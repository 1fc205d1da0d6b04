#include "codecs/raw/kernels.cuh"

#include "codecs/raw/warp.hpp"
#include "cuda/expand_kernel.cuh"
#include "cuda/pool_kernel.cuh"

namespace stillbit::raw {

cudaError_t expand(unsigned, const cuda::Expansion& job, cudaStream_t stream) {
  return cuda::launch_expand<WarpCodec<std::uint8_t>>(job, stream);
}

cudaError_t pool(unsigned, const cuda::BagJob& job, cudaStream_t stream) {
  return cuda::launch_pool<WarpCodec<std::uint8_t>>(job, stream);
}

}  // namespace stillbit::raw
