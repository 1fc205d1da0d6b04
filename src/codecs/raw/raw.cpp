#include "codecs/raw/raw.hpp"

#include <algorithm>

namespace stillbit::raw {
namespace {

class RawCodec final : public RowCodec {
 public:
  explicit RawCodec(std::uint64_t row_bytes) : row_bytes_(row_bytes) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kRaw; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return {}; }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override { return row_bytes_; }

  void measure(const std::byte*, std::uint64_t num_rows, std::uint32_t* sizes) const override {
    std::fill_n(sizes, num_rows, static_cast<std::uint32_t>(row_bytes_));
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const override {
    std::memcpy(dst, row, row_bytes_);
    return row_bytes_;
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    // No row of this codec is encoded: one that claims to be is malformed.
    for (std::uint64_t i = 0; i < num_rows; ++i) {
      if (!rows[i].is_raw) return i;
      std::memcpy(dst + i * row_bytes_, rows[i].data, row_bytes_);
    }
    return num_rows;
  }
  void account(const StoredRow&, RowAccount&) const override {}  // no row of this codec is encoded

 private:
  std::uint64_t row_bytes_;
  std::vector<std::byte> plan_;
};

}  // namespace

std::unique_ptr<RowCodec> make(std::uint64_t row_bytes) {
  return std::make_unique<RawCodec>(row_bytes);
}

std::unique_ptr<RowCodec> plan(const PlanInput& input) {
  return make(input.geometry.row_bytes);
}

Result<std::unique_ptr<RowCodec>> open(Bytes plan, std::uint64_t row_bytes) {
  if (!plan.empty()) return corrupt("raw: the plan is not empty");
  return make(row_bytes);
}

}  // namespace stillbit::raw
