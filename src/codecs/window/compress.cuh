#pragma once

#include "cuda/kernels.hpp"

namespace stillbit::window {

cudaError_t compress(unsigned view_bytes, const cuda::Compression& job, cudaStream_t stream);

}  // namespace stillbit::window
