#include "codecs/window/sums.hpp"

#include "core/bytes.hpp"
#include "format/payload.hpp"

#include <immintrin.h>

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
/// Narrower fields are expanded first.
constexpr unsigned kFewestFieldBits = 6;

#include "pooling/floats.inl"

#include "pooling/f16_avx512.inl"

#include "pooling/finish.inl"

#include "fields/vectors_avx512.inl"

#include "codecs/window/lanes_avx512.inl"

#include "codecs/window/sums.inl"

template <class Element>
SumSlots sum_slots_of(const Plan& plan) noexcept {
  const bool has_column_bases = plan.bases.size() > 1;
  if (plan.dropped_bits == 0)
    return has_column_bases ? sum_rows<Kind<Element, true, true>> : sum_rows<Kind<Element, true, false>>;
  return has_column_bases ? sum_rows<Kind<Element, false, true>> : sum_rows<Kind<Element, false, false>>;
}

}  // namespace

SumSlots sum_slots(const Plan& plan, DType dtype, std::uint64_t slot_bytes) noexcept {
  const bool fits_loops = plan.view_bytes == 2 && plan.is_signed && plan.field_bits >= kFewestFieldBits;
  // Exceptions are all found in the last vector of a slot.
  const std::uint64_t plane_bytes = minimum_row_bytes(plan);
  const bool fits_slots = plane_bytes < slot_bytes && slot_bytes <= plane_bytes + kVectorBytes;
  if (!fits_loops || !fits_slots) return nullptr;
  if (dtype == DType::kBF16) return sum_slots_of<BF16>(plan);
  return dtype == DType::kF16 ? sum_slots_of<F16>(plan) : nullptr;
}

}  // namespace stillbit::window::avx512
