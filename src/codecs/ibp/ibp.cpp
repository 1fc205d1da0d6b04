#include "codecs/ibp/ibp.hpp"

#include "codecs/ibp/account.hpp"
#include "codecs/ibp/kernels.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace stillbit::ibp {
namespace {

class IbpCodec final : public RowCodec {
 public:
  explicit IbpCodec(Plan plan)
      : plan_(std::move(plan)),
        plan_bytes_(serialize(plan_)),
        minimum_row_bytes_(ibp::minimum_row_bytes(plan_)),
        kernels_(kernels(plan_.view_bytes)) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kIbp; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_bytes_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return ibp::warp_plan(plan_); }
  [[nodiscard]] warp::PlanBytes warp_encode_plan() const override { return ibp::warp_encode_plan(plan_); }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override { return minimum_row_bytes_; }

  void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const override {
    kernels_.measure(masks(), rows, num_rows, sizes);
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const override {
    return kernels_.encode(masks(), row, dst);
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode(masks(), rows, num_rows, dst);
  }
  void account(const StoredRow& row, RowAccount& account) const override { ibp::account(plan_, row, account); }

 private:
  /// Laid out when the first row comes: a plan of few bytes may stand for masks of several MB, and a file that is only
  /// looked at needs none of them.
  const RowMasks& masks() const {
    std::call_once(laid_out_, [&] { storage_ = std::make_unique<RowMaskStorage>(plan_, kernels_.wants_moves); });
    return storage_->masks();
  }

  Plan plan_;
  std::vector<std::byte> plan_bytes_;
  std::uint64_t minimum_row_bytes_;
  const Kernels& kernels_;
  mutable std::once_flag laid_out_;
  mutable std::unique_ptr<RowMaskStorage> storage_;
};

}  // namespace

std::unique_ptr<RowCodec> make(Plan plan) {
  return std::make_unique<IbpCodec>(std::move(plan));
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(Plan plan, parse(bytes, row_bytes));
  auto codec = make(std::move(plan));
  if (codec->minimum_row_bytes() >= row_bytes) return corrupt("ibp plan makes no row smaller");
  return codec;
}

}  // namespace stillbit::ibp
