#include "format/npy.hpp"

#include "core/checked.hpp"
#include "core/shape.hpp"

#include <array>
#include <cctype>
#include <optional>
#include <string_view>

namespace stillbit::format {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);

struct Descr {
  std::string_view text;
  DType dtype;
};

constexpr std::array<Descr, 13> kDescrs{{
    {"|b1", DType::kBool},
    {"|u1", DType::kU8},
    {"|i1", DType::kI8},
    {"<u2", DType::kU16},
    {"<i2", DType::kI16},
    {"<u4", DType::kU32},
    {"<i4", DType::kI32},
    {"<u8", DType::kU64},
    {"<i8", DType::kI64},
    {"<f2", DType::kF16},
    {"<f4", DType::kF32},
    {"<f8", DType::kF64},
    {"<c8", DType::kC64},
}};

/// Reads the Python dictionary literal of a header: strings, booleans and tuples of numbers, nothing else.
class DictReader {
 public:
  explicit DictReader(std::string_view text) : rest_(text) {}

  bool take(char c) {
    skip_space();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::optional<std::string_view> take_string() {
    skip_space();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return std::nullopt;
    const std::size_t end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  std::optional<bool> take_bool() {
    skip_space();
    for (const auto& [word, value] : {std::pair{std::string_view("True"), true}, {std::string_view("False"), false}}) {
      if (rest_.substr(0, word.size()) != word) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    return std::nullopt;
  }

  std::optional<std::vector<std::uint64_t>> take_shape() {
    if (!take('(')) return std::nullopt;
    std::vector<std::uint64_t> shape;
    while (!take(')')) {
      skip_space();
      std::uint64_t value = 0;
      std::size_t digits = 0;
      for (; digits < rest_.size() && std::isdigit(static_cast<unsigned char>(rest_[digits])); ++digits) {
        const auto shifted = checked_mul(value, 10);
        const auto sum =
            shifted ? checked_add(*shifted, static_cast<std::uint64_t>(rest_[digits] - '0')) : std::nullopt;
        if (!sum) return std::nullopt;
        value = *sum;
      }
      if (digits == 0 || shape.size() == kMaxRank) return std::nullopt;
      rest_.remove_prefix(digits);
      shape.push_back(value);
      if (!take(',')) {
        if (!take(')')) return std::nullopt;
        break;
      }
    }
    return shape;
  }

 private:
  void skip_space() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front()))) rest_.remove_prefix(1);
  }

  std::string_view rest_;
};

Result<NpyHeader> parse_dict(std::string_view text) {
  const Fault malformed = corrupt("npy header is malformed");
  DictReader reader(text);
  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::uint64_t>> shape;
  if (!reader.take('{')) return malformed;
  while (!reader.take('}')) {
    const auto key = reader.take_string();
    if (!key || !reader.take(':')) return malformed;
    if (*key == "descr") {
      descr = reader.take_string();
      if (!descr) return unsupported("npy files of structured types are not supported");
    } else if (*key == "fortran_order") {
      fortran_order = reader.take_bool();
      if (!fortran_order) return malformed;
    } else if (*key == "shape") {
      shape = reader.take_shape();
      if (!shape) return malformed;
    } else {
      return malformed;
    }
    if (!reader.take(',')) {
      if (!reader.take('}')) return malformed;
      break;
    }
  }
  if (!descr || !fortran_order || !shape) return malformed;
  for (const Descr& known : kDescrs) {
    const bool same = *descr == known.text ||
                      (known.text[0] == '|' && descr->size() == 3 && descr->substr(1) == known.text.substr(1));
    if (same) return NpyHeader{known.dtype, *shape, *fortran_order, 0, 0};
  }
  if (descr->find('O') != std::string_view::npos) return unsupported("npy files of Python objects are not read");
  if (!descr->empty() && descr->front() == '>')
    return unsupported("npy dtype '" + std::string(*descr) + "' is big-endian");
  return unsupported("npy dtype '" + std::string(*descr) + "' is not supported");
}

}  // namespace

Result<NpyHeader> parse_npy(Bytes file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.substr(0, kMagic.size()) != kMagic || file.size() < 10) return corrupt("not a npy file");
  const auto major = load<std::uint8_t>(file.data() + 6);
  if (major < 1 || major > 3) return unsupported("npy version " + std::to_string(major) + " is not supported");
  const std::size_t start = major == 1 ? 10 : 12;
  if (file.size() < start) return corrupt("npy file is cut short");
  const std::uint64_t size = major == 1 ? load<std::uint16_t>(file.data() + 8) : load<std::uint32_t>(file.data() + 8);
  if (size > file.size() - start) return corrupt("npy file is cut short in its header");

  STILLBIT_TRY(NpyHeader header, parse_dict(text.substr(start, size)));
  const auto sizes = row_geometry(header.dtype, header.shape, 0);
  if (!sizes.ok()) return corrupt("npy " + sizes.fault().message);
  const RowGeometry geometry = sizes.value();
  header.data_offset = start + size;
  header.data_bytes = geometry.num_bytes();
  const std::uint64_t available = file.size() - header.data_offset;
  if (available != header.data_bytes) {
    return corrupt("npy shape " + to_string(header.shape) + " takes " + std::to_string(header.data_bytes) +
                   " bytes, the file has " + std::to_string(available));
  }
  return header;
}

DType npy_dtype(DType dtype) noexcept {
  for (const Descr& known : kDescrs) {
    if (known.dtype == dtype) return dtype;
  }
  return num_bytes(dtype) == 1 ? DType::kU8 : DType::kU16;
}

std::string serialize_npy(DType dtype, std::span<const std::uint64_t> shape) {
  std::string dict = "{'descr': '";
  for (const Descr& known : kDescrs) {
    if (known.dtype == npy_dtype(dtype)) dict += known.text;
  }
  dict += "', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i)
    dict += std::to_string(shape[i]) + (shape.size() == 1 || i + 1 < shape.size() ? "," : "");
  dict += "), }";
  dict.resize(align_up(10 + dict.size() + 1, 64) - 11, ' ');
  dict += '\n';
  const auto size = static_cast<std::uint16_t>(dict.size());
  std::string header(kMagic);
  header += {'\x01', '\x00'};
  header.append(reinterpret_cast<const char*>(&size), 2);
  return header + dict;
}

}  // namespace stillbit::format
