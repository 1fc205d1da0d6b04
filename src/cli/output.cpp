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

std::string decimal(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", value);
  return text.data();
}

/// Of a codec or a packing.
template <class What>
std::string name_of(const std::optional<What>& what) {
  return what ? std::string(name(*what)) : "-";
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t size : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text.empty() ? "scalar" : text;
}

/// Columns from `first_number` on hold numbers, which line up at the right.
void print_rows(std::ostream& out, const std::vector<Row>& rows, std::size_t first_number) {
  std::vector<std::size_t> width(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(width[i] - row[i].size(), ' ');
      if (i > 0) line += "  ";
      line += i >= first_number ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

/// "3.52 (0.41)": GB/s, and how often the reference's.
std::string speed_text(double speed, double reference) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.2f (%.2f)", speed, speed / reference);
  return text.data();
}

std::string speed_text(double speed) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", speed);
  return text.data();
}

Row speed_cells(const std::optional<Speeds>& speeds) {
  if (!speeds) return {"-", "-", "-", "-", "-"};
  return {speed_text(speeds->memcpy), speed_text(speeds->compress, speeds->memcpy),
          speed_text(speeds->decompress, speeds->memcpy), speed_text(speeds->raw_gather),
          speed_text(speeds->gather, speeds->raw_gather)};
}

nlohmann::ordered_json speeds_json(const std::optional<Speeds>& speeds) {
  using Json = nlohmann::ordered_json;
  const auto value = [&](double Speeds::* speed) { return speeds ? Json((*speeds).*speed) : Json(); };
  const auto ratio = [&](double Speeds::* speed, double Speeds::* reference) {
    return speeds ? Json((*speeds).*speed / (*speeds).*reference) : Json();
  };
  return {{"memcpy_gb_per_s", value(&Speeds::memcpy)},
          {"compress_gb_per_s", value(&Speeds::compress)},
          {"compress_to_memcpy", ratio(&Speeds::compress, &Speeds::memcpy)},
          {"decompress_gb_per_s", value(&Speeds::decompress)},
          {"decompress_to_memcpy", ratio(&Speeds::decompress, &Speeds::memcpy)},
          {"raw_gather_gb_per_s", value(&Speeds::raw_gather)},
          {"gather_gb_per_s", value(&Speeds::gather)},
          {"gather_to_raw_gather", ratio(&Speeds::gather, &Speeds::raw_gather)}};
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
                    name_of(tensor.codec), name_of(tensor.packing), human_bytes(tensor.raw_bytes),
                    human_bytes(tensor.stored_bytes), human_bytes(tensor.metadata_bytes), decimal(tensor.ratio()),
                    decimal(tensor.transfer_ratio)});
  }
  rows.push_back({std::to_string(info.tensors.size()) + (info.tensors.size() == 1 ? " tensor" : " tensors"), "", "", "",
                  "", human_bytes(info.raw_bytes), human_bytes(info.stored_bytes), "", decimal(info.ratio()), ""});
  print_rows(out, rows, 5);
}

void print_prices(std::ostream& out, const FileInfo& info) {
  std::vector<Codec> codecs;
  for (const TensorInfo& tensor : info.tensors) {
    for (const CodecPrice& price : tensor.prices) {
      if (std::find(codecs.begin(), codecs.end(), price.codec) == codecs.end()) codecs.push_back(price.codec);
    }
  }
  if (codecs.empty()) return;
  std::sort(codecs.begin(), codecs.end());
  std::vector<Row> rows{{"ratio that each codec would have had"}};
  for (const Codec codec : codecs) rows.front().emplace_back(name(codec));
  for (const TensorInfo& tensor : info.tensors) {
    rows.push_back({printable(tensor.name)});
    for (const Codec codec : codecs) {
      const auto price = std::find_if(tensor.prices.begin(), tensor.prices.end(),
                                      [&](const CodecPrice& candidate) { return candidate.codec == codec; });
      const bool is_known = price != tensor.prices.end() && price->stored_bytes > 0;
      rows.back().push_back(
          is_known ? decimal(static_cast<double>(tensor.raw_bytes) / static_cast<double>(price->stored_bytes)) : "-");
    }
  }
  out << '\n';
  print_rows(out, rows, 1);
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
    if (tensor.prices.empty()) continue;
    ordered_json prices;
    for (const CodecPrice& price : tensor.prices) prices[std::string(name(price.codec))] = price.stored_bytes;
    tensors.back()["prices"] = std::move(prices);
  }
  const ordered_json document{{"tensors", tensors},
                              {"raw_bytes", info.raw_bytes},
                              {"stored_bytes", info.stored_bytes},
                              {"file_bytes", info.file_bytes},
                              {"ratio", info.ratio()}};
  // Names of files may be no UTF-8.
  out << document.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

void print_table(std::ostream& out, std::span<const Measurement> measured, unsigned num_threads) {
  std::vector<Row> rows{{"tensor", "dtype", "shape", "device", "codec", "packing", "lies in", "raw", "ratio", "memcpy",
                         "compress", "decompress", "raw gather", "gather"}};
  for (const Measurement& one : measured) {
    std::string shape = shape_text(one.tensor.shape);
    if (one.measured_rows < one.num_rows) shape += ", first " + std::to_string(one.measured_rows) + " rows";
    rows.push_back({printable(one.tensor.name), std::string(name(one.tensor.dtype)), shape, one.device,
                    name_of(one.tensor.codec), name_of(one.tensor.packing), one.is_cache_resident ? "cache" : "memory",
                    human_bytes(one.tensor.raw_bytes), decimal(one.tensor.ratio())});
    for (std::string& cell : speed_cells(one.speeds)) rows.back().push_back(std::move(cell));
  }
  print_rows(out, rows, 7);
  out << "GB/s of raw bytes, " << num_threads << (num_threads == 1 ? " thread" : " threads")
      << "; in parentheses: times memcpy, gather: times the raw gather\n";
}

void print_json(std::ostream& out, std::span<const Measurement> measured, unsigned num_threads) {
  using nlohmann::ordered_json;
  ordered_json tensors = ordered_json::array();
  for (const Measurement& one : measured) {
    ordered_json tensor{{"name", one.tensor.name},
                        {"dtype", name(one.tensor.dtype)},
                        {"shape", one.tensor.shape},
                        {"device", one.device},
                        {"codec", name_of(one.tensor.codec)},
                        {"packing", name_of(one.tensor.packing)},
                        {"num_rows", one.num_rows},
                        {"measured_rows", one.measured_rows},
                        {"cache_resident", one.is_cache_resident},
                        {"raw_bytes", one.tensor.raw_bytes},
                        {"stored_bytes", one.tensor.stored_bytes},
                        {"ratio", one.tensor.ratio()},
                        {"transfer_ratio", one.tensor.transfer_ratio}};
    tensor.update(speeds_json(one.speeds));
    tensors.push_back(std::move(tensor));
  }
  const ordered_json document{{"device", "cpu"}, {"threads", num_threads}, {"tensors", tensors}};
  out << document.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

}  // namespace stillbit::cli
