#include "codecs/escape/escape.hpp"

#include "codecs/escape/account.hpp"
#include "codecs/escape/kernels.hpp"

#include <memory>
#include <mutex>

namespace stillbit::escape {
namespace {

class EscapeCodec final : public RowCodec {
 public:
  EscapeCodec(const Plan& plan, cpu::Isa isa)
      : plan_(plan),
        plan_bytes_(serialize(plan)),
        storage_(plan, LayoutUse::kDecoding),
        kernels_(kernels(plan.view_bytes, isa)) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kEscape; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_bytes_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return escape::warp_plan(plan_); }
  [[nodiscard]] warp::PlanBytes warp_encode_plan() const override { return escape::warp_encode_plan(plan_); }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override {
    return storage_.layout().minimum_row_bytes;
  }

  void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const override {
    kernels_.measure(encoding_layout(), rows, num_rows, sizes);
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const override {
    return kernels_.encode(encoding_layout(), row, dst);
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode(storage_.layout(), rows, num_rows, dst);
  }
  std::uint64_t decode_past_caches(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode_past_caches(storage_.layout(), rows, num_rows, dst);
  }
  void account(const StoredRow& row, RowAccount& account) const override { escape::account(plan_, row, account); }

 private:
  /// Made when it is first asked for: whoever opens a file with thousands of tensors mostly encodes none.
  [[nodiscard]] const RowLayout& encoding_layout() const {
    std::call_once(has_encoding_, [this] { encoding_ = std::make_unique<RowLayoutStorage>(plan_); });
    return encoding_->layout();
  }

  Plan plan_;
  std::vector<std::byte> plan_bytes_;
  RowLayoutStorage storage_;
  mutable std::once_flag has_encoding_;
  mutable std::unique_ptr<RowLayoutStorage> encoding_;
  const Kernels& kernels_;
};

}  // namespace

std::unique_ptr<RowCodec> make(const Plan& plan, cpu::Isa isa) {
  return std::make_unique<EscapeCodec>(plan, isa);
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(const Plan plan, parse(bytes, row_bytes));
  if (minimum_row_bytes(plan) >= row_bytes) return corrupt("escape plan makes no row smaller");
  return make(plan);
}

}  // namespace stillbit::escape
