#include "cuda/status.hpp"

namespace stillbit::cuda {
namespace {

/// What a user can do about it; nothing where the error says all.
const char* advice(cudaError_t error) {
  switch (error) {
    case cudaErrorInsufficientDriver:
      return "no NVIDIA driver is installed, or it is too old for this build's CUDA";
    case cudaErrorNoDevice:
      return "the driver finds no GPU";
    case cudaErrorNoKernelImageForDevice:
      return "this build has no code for the GPU's architecture";
    case cudaErrorMemoryAllocation:
      return "not enough memory";
    case cudaErrorHostMemoryAlreadyRegistered:
      return "the memory is pinned already";
    case cudaErrorIllegalAddress:
      return "the GPU was made to read or write outside its memory; the process cannot use it any more";
    default:
      return "";
  }
}

}  // namespace

Fault cuda_fault(cudaError_t error, const std::string& call) {
  std::string message = call + " failed: " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
  if (const std::string hint = advice(error); !hint.empty()) message += ": " + hint;
  return {ErrorCode::kDevice, message};
}

Result<void> check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return {};
  (void)cudaGetLastError();
  const std::string text = call;
  return cuda_fault(error, text.substr(0, text.find('(')));
}

}  // namespace stillbit::cuda
