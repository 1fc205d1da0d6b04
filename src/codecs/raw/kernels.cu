#include "codecs/raw/kernels.cuh"

#include "codecs/raw/warp.hpp"
#include "cuda/expand_kernel.cuh"

namespace stillbit::raw {

cudaError_t expand(unsigned, const cuda::Expansion& job, cudaStream_t stream) {
  using Codec = WarpCodec<std::uint8_t>;
  return job.launch.workspace_bytes == 0 ? cuda::launch_expand<Codec, cuda::Staging::kShared>(job, stream)
                                         : cuda::launch_expand<Codec, cuda::Staging::kGlobal>(job, stream);
}

}  // namespace stillbit::raw
