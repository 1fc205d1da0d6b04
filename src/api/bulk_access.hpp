#pragma once

#include "io/mapped_file.hpp"

namespace stillbit {

/// Whoever maps a file gathers single rows, and wants no more read than those; for as long as this lives, all of some
/// mapped bytes is to be read.
class BulkAccess {
 public:
  explicit BulkAccess(Bytes mapped) : mapped_(mapped) { io::advise(mapped_, io::Access::kSequential); }
  ~BulkAccess() { io::advise(mapped_, io::Access::kRandom); }
  BulkAccess(const BulkAccess&) = delete;
  BulkAccess& operator=(const BulkAccess&) = delete;

 private:
  Bytes mapped_;
};

}  // namespace stillbit
