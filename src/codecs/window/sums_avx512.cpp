#include "codecs/window/sums.hpp"

#include "core/bytes.hpp"
#include "format/payload.hpp"

#include <immintrin.h>

#include <algorithm>
#include <type_traits>

// Compiled for AVX-512 with byte permutations (VBMI, VBMI2); reached only on machines that have them.

namespace stillbit::window::avx512 {
namespace {

using pooling::Arithmetic;
using pooling::Batch;
using pooling::Piece;
using pooling::SlotBatch;

constexpr std::uint64_t kVectorBytes = 64;
/// Of a row as many are expanded at a time: their sums are twice as many registers.
constexpr unsigned kMostVectors = 8;

#include "pooling/floats.inl"

#include "pooling/f16_avx512.inl"

#include "pooling/finish.inl"

#include "codecs/window/lanes_avx512.inl"

#include "codecs/window/sums.inl"

template <class Element>
SumSlots sum_slots_of(const Plan& plan) noexcept {
  return plan.dropped_bits == 0 ? sum_rows<Element, true> : sum_rows<Element, false>;
}

}  // namespace

SumSlots sum_slots(const Plan& plan, DType dtype) noexcept {
  if (plan.view_bytes != 2 || !plan.is_signed) return nullptr;
  if (dtype == DType::kBF16) return sum_slots_of<BF16>(plan);
  return dtype == DType::kF16 ? sum_slots_of<F16>(plan) : nullptr;
}

}  // namespace stillbit::window::avx512
