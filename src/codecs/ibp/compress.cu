#include "codecs/ibp/compress.cuh"

#include "codecs/ibp/warp_encode.hpp"
#include "cuda/compress_kernel.cuh"

namespace stillbit::ibp {

cudaError_t compress(unsigned view_bytes, const cuda::Compression& job, cudaStream_t stream) {
  return cuda::launch_compress<WarpEncoder>(view_bytes, job, stream);
}

}  // namespace stillbit::ibp
