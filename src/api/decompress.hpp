#pragma once

#include "core/result.hpp"

#include <stillbit/tensor.hpp>

#include <functional>
#include <span>

namespace stillbit {

/// Puts before a fault what the caller calls a request.
using NameRequest = std::function<Fault(std::size_t request, const Fault& fault)>;

/// Expands many tensors in one, and compares checksums if `verify`. The first fault, in order, is returned.
Result<void> decompress_all(std::span<const DecompressRequest> requests, unsigned num_threads, bool verify,
                            const NameRequest& named);

}  // namespace stillbit
