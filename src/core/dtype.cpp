#include <stillbit/dtype.hpp>

#include <algorithm>
#include <array>
#include <cctype>

namespace stillbit {
namespace {

struct Entry {
  std::string_view name;
  unsigned num_bytes;
};

/// Indexed by the dtype's number.
constexpr std::array<Entry, kNumDTypes> kDTypes{{
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},      {"U16", 2},         {"I16", 2},         {"U32", 4}, {"I32", 4},
    {"U64", 8},  {"I64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1},     {"F8_E8M0", 1},     {"F16", 2}, {"BF16", 2},
    {"F32", 4},  {"F64", 8}, {"C64", 8},     {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
}};

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::toupper(x) == std::toupper(y); });
}

}  // namespace

unsigned num_bytes(DType dtype) noexcept {
  return kDTypes[static_cast<unsigned>(dtype)].num_bytes;
}

std::string_view name(DType dtype) noexcept {
  return kDTypes[static_cast<unsigned>(dtype)].name;
}

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  for (unsigned i = 0; i < kNumDTypes; ++i) {
    if (equal_ignoring_case(kDTypes[i].name, name)) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace stillbit
