#pragma once

#include "core/result.hpp"

#include <cuda_runtime_api.h>

#include <string>

namespace stillbit::cuda {

/// A CUDA call's error as a fault that names the call and says what can be done about it.
[[nodiscard]] Fault cuda_fault(cudaError_t error, const std::string& call);

/// Nothing, or the fault. Also clears the error where CUDA would report it again later.
Result<void> check(cudaError_t error, const char* call);

}  // namespace stillbit::cuda

/// `STILLBIT_CUDA(cudaFree(memory));` returns the fault of a CUDA call from the calling function, if it has one.
#define STILLBIT_CUDA(...) STILLBIT_CHECK(::stillbit::cuda::check((__VA_ARGS__), #__VA_ARGS__))
