#pragma once

#include "core/result.hpp"
#include "cuda/backend.hpp"

namespace stillbit {

/// The library with the CUDA code, loaded when this is first called. A fault where it is not there, or is of another
/// build; the same one at every call.
Result<const cuda::Backend*> cuda_backend();

}  // namespace stillbit
