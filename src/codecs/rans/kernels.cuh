#pragma once

#include "cuda/kernels.hpp"

namespace stillbit::rans {

cudaError_t expand(unsigned view_bytes, const cuda::Expansion& job, cudaStream_t stream);

cudaError_t pool(unsigned view_bytes, const cuda::BagJob& job, cudaStream_t stream);

}  // namespace stillbit::rans
