#include "codecs/raw/compress.cuh"

#include "codecs/raw/warp_encode.hpp"
#include "cuda/compress_kernel.cuh"

namespace stillbit::raw {

cudaError_t compress(unsigned, const cuda::Compression& job, cudaStream_t stream) {
  return cuda::launch_compress<WarpEncoder<std::uint8_t>>(job, stream);
}

}  // namespace stillbit::raw
