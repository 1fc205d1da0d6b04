#pragma once

#include <stdexcept>
#include <string>

namespace stillbit {

/// Why a call failed.
enum class ErrorCode {
  kInvalidArgument,  ///< a wrong shape, dtype, size, codec or option
  kOutOfRange,       ///< a row index below 0 or not below the number of rows
  kCorrupt,          ///< bytes that break the format, or do not have their checksum
  kUnsupported,      ///< well-formed, but not something this library handles
  kMismatch,         ///< two tensors that should be equal are not
  kIo,               ///< the operating system refused to read, write or map
  kDevice,           ///< there is no GPU that can be used, or a call to it failed
};

/// The one exception of the library's own; when memory runs out it throws `std::bad_alloc`. `what()` names the thing
/// that is wrong: file, tensor, field, index.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace stillbit
