#include "api/plan.hpp"

#include "api/encoder.hpp"
#include "api/registry.hpp"
#include "core/shape.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace stillbit {
namespace {

using nlohmann::json;

constexpr int kPlanVersion = 1;

std::string to_hex(Bytes bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned>(byte) & 0xF];
  }
  return text;
}

Result<std::vector<std::byte>> from_hex(std::string_view text) {
  const auto digit = [](char c) -> unsigned {
    constexpr std::string_view kDigits = "0123456789abcdef";
    return static_cast<unsigned>(std::min(kDigits.find(c), kDigits.size()));
  };
  std::vector<std::byte> bytes(text.size() / 2);
  bool is_hex = text.size() % 2 == 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const unsigned high = digit(text[2 * i]);
    const unsigned low = digit(text[2 * i + 1]);
    is_hex = is_hex && high < 16 && low < 16;
    bytes[i] = static_cast<std::byte>(high << 4 | low);
  }
  if (!is_hex) return corrupt("the codec's plan is not written as hexadecimal digits");
  return bytes;
}

template <class Value>
Result<Value> known(const json& document, const char* field, std::optional<Value> (*lookup)(std::string_view)) {
  const auto text = document.at(field).get<std::string>();
  if (const auto value = lookup(text)) return *value;
  return corrupt(std::string(field) + " \"" + text + "\" is not known");
}

/// The rules of docs/format.md for a payload's `tile_bytes` and `row_unit`.
Result<void> check_layout(const Plan::Impl& plan, Codec codec) {
  const std::uint64_t tile = plan.tile_bytes;
  const std::uint64_t row = plan.row_bytes;
  const bool is_raw = codec == Codec::kRaw;
  const bool is_cut = !is_raw && plan.packing == Packing::kPacked && !plan.stores_repeats_once && tile > 0 &&
                      tile <= format::kMaxTileBytes &&
                      (tile > row ? row > 0 && tile % row == 0 : tile % num_bytes(plan.dtype) == 0);
  if (tile != row && !is_cut) return corrupt("tile_bytes " + std::to_string(tile) + " does not fit the rows");
  const bool has_slots = plan.packing == Packing::kSlotted;
  const bool is_stride = !has_slots ? plan.stride == 0
                         : is_raw   ? plan.stride == row
                                    : plan.stride >= format::kMinStride && plan.stride < row;
  if (!is_stride) return corrupt("stride " + std::to_string(plan.stride) + " does not fit the rows");
  if (plan.stores_repeats_once && (has_slots || row == 0)) return corrupt("repeats are for packed rows");
  return {};
}

Result<Plan> parse(std::string_view text) {
  auto plan = std::make_shared<Plan::Impl>();
  try {
    const json document = json::parse(text);
    if (document.at("version").get<std::int64_t>() != kPlanVersion) return unsupported("it has another version");
    STILLBIT_TRY(plan->dtype, known<DType>(document, "dtype", dtype_from_name));
    STILLBIT_TRY(plan->packing, known<Packing>(document, "packing", packing_from_name));
    STILLBIT_TRY(plan->objective, known<Objective>(document, "objective", objective_from_name));
    plan->row_shape = document.at("row_shape").get<std::vector<std::uint64_t>>();
    STILLBIT_TRY(const RowGeometry row,
                 row_geometry(plan->dtype, plan->row_shape, static_cast<unsigned>(plan->row_shape.size())));
    plan->row_bytes = row.row_bytes;
    plan->num_rows = document.at("num_rows").get<std::uint64_t>();
    plan->tile_bytes = document.at("tile_bytes").get<std::uint64_t>();
    plan->stride = document.at("stride").get<std::uint64_t>();
    plan->stores_repeats_once = document.at("stores_repeats_once").get<bool>();
    for (const auto& [codec, stored_bytes] : document.at("prices").items()) {
      if (const auto priced = codec_from_name(codec))
        plan->prices.push_back({*priced, stored_bytes.get<std::uint64_t>()});
    }
    STILLBIT_TRY(const Codec codec, known<Codec>(document, "codec", codec_from_name));
    STILLBIT_CHECK(check_layout(*plan, codec));
    STILLBIT_TRY(const std::vector<std::byte> bytes, from_hex(document.at("plan").get_ref<const std::string&>()));
    STILLBIT_TRY(plan->codec, open_codec(codec, bytes, plan->tile_bytes));
  } catch (const json::exception& error) {
    return corrupt(error.what());
  }
  return Plan(std::move(plan));
}

std::string rows_of(DType dtype, std::span<const std::uint64_t> row_shape) {
  return std::string(name(dtype)) + " rows of shape " + to_string(row_shape);
}

}  // namespace

Result<void> check_rows(const Plan::Impl& plan, DType dtype, std::span<const std::uint64_t> row_shape) {
  if (plan.dtype == dtype &&
      std::equal(row_shape.begin(), row_shape.end(), plan.row_shape.begin(), plan.row_shape.end()))
    return {};
  return invalid("the plan is for " + rows_of(plan.dtype, plan.row_shape) + ", the tensor has " +
                 rows_of(dtype, row_shape));
}

Plan plan(const TensorView& tensor, const CompressOptions& options) {
  const auto geometry = unwrap(row_geometry(tensor.dtype, tensor.shape, 0));
  const Source source{Bytes(static_cast<const std::byte*>(tensor.data), geometry.num_bytes()), tensor.dtype,
                      tensor.shape, false};
  return unwrap(Encoder::make_plan(source, options, nullptr));
}

Plan plan(const TensorView& sample, const CompressOptions& options, const AllRows& all) {
  const auto geometry = unwrap(row_geometry(sample.dtype, sample.shape, 0));
  const Source source{Bytes(static_cast<const std::byte*>(sample.data), geometry.num_bytes()), sample.dtype,
                      sample.shape, false};
  return unwrap(Encoder::make_plan(source, options, &all));
}

Plan::Plan(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

DType Plan::dtype() const noexcept {
  return impl_->dtype;
}
const std::vector<std::uint64_t>& Plan::row_shape() const noexcept {
  return impl_->row_shape;
}
std::uint64_t Plan::row_bytes() const noexcept {
  return impl_->row_bytes;
}
Codec Plan::codec() const noexcept {
  return impl_->codec->codec();
}
Packing Plan::packing() const noexcept {
  return impl_->packing;
}
Objective Plan::objective() const noexcept {
  return impl_->objective;
}
std::uint64_t Plan::num_rows() const noexcept {
  return impl_->num_rows;
}
const std::vector<CodecPrice>& Plan::prices() const noexcept {
  return impl_->prices;
}
std::uint64_t Plan::tile_bytes() const noexcept {
  return impl_->tile_bytes;
}
std::uint64_t Plan::stride() const noexcept {
  return impl_->stride;
}
std::uint64_t Plan::plan_bytes() const noexcept {
  return impl_->codec->plan().size();
}
bool Plan::stores_repeats_once() const noexcept {
  return impl_->stores_repeats_once;
}

std::string Plan::to_json() const {
  json prices = json::object();
  for (const auto& [codec, stored_bytes] : impl_->prices) prices[std::string(name(codec))] = stored_bytes;
  const json document{{"version", kPlanVersion},         {"dtype", name(impl_->dtype)},
                      {"row_shape", impl_->row_shape},   {"codec", name(codec())},
                      {"packing", name(impl_->packing)}, {"objective", name(impl_->objective)},
                      {"num_rows", impl_->num_rows},     {"tile_bytes", impl_->tile_bytes},
                      {"stride", impl_->stride},         {"stores_repeats_once", impl_->stores_repeats_once},
                      {"prices", std::move(prices)},     {"plan", to_hex(impl_->codec->plan())}};
  return document.dump();
}

Plan Plan::from_json(std::string_view text) {
  auto plan = parse(text);
  if (!plan.ok()) throw Error(plan.fault().code, "the plan is malformed: " + plan.fault().message);
  return std::move(plan).value();
}

}  // namespace stillbit
