#include "cli/output.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ostream>
#include <vector>

namespace stillbit::cli {
namespace {

using Row = std::vector<std::string>;

/// Columns from here on hold numbers, which line up at the right.
constexpr std::size_t kFirstNumber = 5;

std::string decimal(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", value);
  return text.data();
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t size : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text.empty() ? "scalar" : text;
}

void print_rows(std::ostream& out, const std::vector<Row>& rows) {
  std::vector<std::size_t> width(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(width[i] - row[i].size(), ' ');
      if (i > 0) line += "  ";
      line += i >= kFirstNumber ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

}  // namespace

std::string printable(std::string text) {
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return text;
}

std::string human_bytes(std::uint64_t num_bytes) {
  constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(num_bytes);
  std::size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

void print_table(std::ostream& out, const FileInfo& info) {
  std::vector<Row> rows{
      {"tensor", "dtype", "shape", "codec", "packing", "raw", "stored", "metadata", "ratio", "transfer"}};
  for (const TensorInfo& tensor : info.tensors) {
    rows.push_back({printable(tensor.name), std::string(name(tensor.dtype)), shape_text(tensor.shape),
                    tensor.codec ? std::string(name(*tensor.codec)) : "-",
                    tensor.packing ? std::string(name(*tensor.packing)) : "-", human_bytes(tensor.raw_bytes),
                    human_bytes(tensor.stored_bytes), human_bytes(tensor.metadata_bytes), decimal(tensor.ratio()),
                    decimal(tensor.transfer_ratio)});
  }
  rows.push_back({std::to_string(info.tensors.size()) + (info.tensors.size() == 1 ? " tensor" : " tensors"), "", "", "",
                  "", human_bytes(info.raw_bytes), human_bytes(info.stored_bytes), "", decimal(info.ratio()), ""});
  print_rows(out, rows);
}

void print_json(std::ostream& out, const FileInfo& info) {
  using nlohmann::ordered_json;
  ordered_json tensors = ordered_json::array();
  for (const TensorInfo& tensor : info.tensors) {
    ordered_json codec;
    ordered_json packing;
    if (tensor.codec) codec = name(*tensor.codec);
    if (tensor.packing) packing = name(*tensor.packing);
    tensors.push_back({{"name", tensor.name},
                       {"dtype", name(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"codec", codec},
                       {"packing", packing},
                       {"raw_bytes", tensor.raw_bytes},
                       {"stored_bytes", tensor.stored_bytes},
                       {"metadata_bytes", tensor.metadata_bytes},
                       {"ratio", tensor.ratio()},
                       {"transfer_ratio", tensor.transfer_ratio}});
  }
  const ordered_json document{{"tensors", tensors},
                              {"raw_bytes", info.raw_bytes},
                              {"stored_bytes", info.stored_bytes},
                              {"file_bytes", info.file_bytes},
                              {"ratio", info.ratio()}};
  // Names of files may be no UTF-8.
  out << document.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

}  // namespace stillbit::cli
