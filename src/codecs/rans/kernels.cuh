#pragma once

#include "cuda/kernels.hpp"

namespace stillbit::rans {

cudaError_t expand(unsigned view_bytes, const cuda::Expansion& job, cudaStream_t stream);

}  // namespace stillbit::rans
