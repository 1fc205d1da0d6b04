#include "codecs/ibp/pool.cuh"

#include "codecs/ibp/warp.hpp"
#include "cuda/pool_kernel.cuh"

namespace stillbit::ibp {

cudaError_t pool(unsigned view_bytes, const cuda::BagJob& job, cudaStream_t stream) {
  return cuda::launch_pool<WarpCodec>(view_bytes, job, stream);
}

}  // namespace stillbit::ibp
