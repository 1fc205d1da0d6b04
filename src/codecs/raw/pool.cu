#include "codecs/raw/pool.cuh"

#include "codecs/raw/warp.hpp"
#include "cuda/pool_kernel.cuh"

namespace stillbit::raw {

cudaError_t pool(unsigned, const cuda::BagJob& job, cudaStream_t stream) {
  return cuda::launch_pool<WarpCodec<std::uint8_t>>(job, stream);
}

}  // namespace stillbit::raw
