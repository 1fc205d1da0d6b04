#pragma once

#include "core/bytes.hpp"

namespace stillbit::fuzz {

enum class Outcome {
  kRefused,    ///< with a message
  kDecoded,    ///< every tensor has its checksum
  kUnchecked,  ///< decodes, but to something without its checksum, which a reader refuses
};

/// Reads bytes as a compressed file in every way there is. Aborts when the readers contradict each other, or when a
/// fault has no message; anything worse is for a sanitizer to find.
Outcome read_file(Bytes file);

}  // namespace stillbit::fuzz
