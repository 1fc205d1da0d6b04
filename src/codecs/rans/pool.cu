#include "codecs/rans/pool.cuh"

#include "codecs/rans/warp.hpp"
#include "cuda/pool_kernel.cuh"

namespace stillbit::rans {

cudaError_t pool(unsigned view_bytes, const cuda::BagJob& job, cudaStream_t stream) {
  return cuda::launch_pool<WarpCodec>(view_bytes, job, stream);
}

}  // namespace stillbit::rans
