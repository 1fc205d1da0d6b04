#include "codecs/window/window.hpp"

#include "codecs/window/account.hpp"
#include "codecs/window/kernels.hpp"
#include "codecs/window/sums.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace stillbit::window {
namespace {

class WindowCodec final : public RowCodec {
 public:
  WindowCodec(Plan plan, cpu::Isa isa)
      : plan_(std::move(plan)), plan_bytes_(serialize(plan_)), kernels_(kernels(plan_.view_bytes, isa)), isa_(isa) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kWindow; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_bytes_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return window::warp_plan(plan_); }
  [[nodiscard]] warp::PlanBytes warp_encode_plan() const override { return window::warp_plan(plan_); }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override { return window::minimum_row_bytes(plan_); }

  void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const override {
    kernels_.measure(layout(), rows, num_rows, sizes);
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const override {
    return kernels_.encode(layout(), row, dst);
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode(layout(), rows, num_rows, dst);
  }
  std::uint64_t decode_past_caches(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode_past_caches(layout(), rows, num_rows, dst);
  }
  [[nodiscard]] bool sums_slots(DType dtype, std::uint64_t slot_bytes) const noexcept override {
    return window::sum_slots(plan_, dtype, slot_bytes, isa_) != nullptr;
  }
  [[nodiscard]] std::uint64_t sum_slots(DType dtype, const pooling::SlotBatch& batch) const override {
    return window::sum_slots(plan_, dtype, batch.slot_bytes, isa_)(layout(), batch);
  }
  void account(const StoredRow& row, RowAccount& account) const override { window::account(plan_, row, account); }

 private:
  /// Laid out when the first row comes: a plan of few bytes may stand for a base for each column of a long row.
  const RowLayout& layout() const {
    std::call_once(laid_out_, [this] { storage_ = std::make_unique<RowLayoutStorage>(plan_); });
    return storage_->layout();
  }

  Plan plan_;
  std::vector<std::byte> plan_bytes_;
  const Kernels& kernels_;
  cpu::Isa isa_;
  mutable std::once_flag laid_out_;
  mutable std::unique_ptr<RowLayoutStorage> storage_;
};

}  // namespace

std::unique_ptr<RowCodec> make(const Plan& plan, cpu::Isa isa) {
  return std::make_unique<WindowCodec>(plan, isa);
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(const Plan plan, parse(bytes, row_bytes));
  if (minimum_row_bytes(plan) >= row_bytes) return corrupt("window plan makes no row smaller");
  return make(plan);
}

}  // namespace stillbit::window
