#pragma once

#include <stillbit/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace stillbit::testing {

/// A tensor that owns its elements.
struct OwnedTensor {
  DType dtype = DType::kU8;
  std::vector<std::uint64_t> shape;
  std::vector<std::byte> data;

  [[nodiscard]] TensorView view() const { return {data.data(), dtype, shape}; }
};

/// Kinds of values that tensors of the field hold, and some that none should.
enum class Values {
  kNormal,        ///< around 0, as weights; integers: around 0 too
  kBagOfWords,    ///< 1 element in 50 is 1, the others 0
  kSmallInts,     ///< 0 … 7
  kOutliers,      ///< mostly one small range, 1 element in 1,000 has random bits
  kRandomBits,    ///< every bit random: incompressible, all NaN payloads
  kConstant,      ///< one value
  kAllPatterns,   ///< 0, 1, 2 … as the element's bit pattern, wrapping around
  kRepeatedRows,  ///< rows as of kNormal, all of them one of three
};

inline constexpr Values kAllValues[] = {Values::kNormal,      Values::kBagOfWords,  Values::kSmallInts,
                                        Values::kOutliers,    Values::kRandomBits,  Values::kConstant,
                                        Values::kAllPatterns, Values::kRepeatedRows};

/// The same tensor for the same arguments on every machine.
OwnedTensor make_tensor(DType dtype, std::vector<std::uint64_t> shape, Values values, std::uint64_t seed);

std::string name(Values values);

}  // namespace stillbit::testing
