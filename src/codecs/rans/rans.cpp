#include "codecs/rans/rans.hpp"

#include "codecs/rans/account.hpp"
#include "codecs/rans/kernels.hpp"

namespace stillbit::rans {
namespace {

class RansCodec final : public RowCodec {
 public:
  RansCodec(const Plan& plan, cpu::Isa isa)
      : plan_(plan), plan_bytes_(serialize(plan)), storage_(plan), kernels_(kernels(plan.view_bytes, isa)) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kRans; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_bytes_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return rans::warp_plan(plan_); }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override {
    return storage_.layout().minimum_row_bytes;
  }

  void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const override {
    kernels_.measure(storage_.layout(), rows, num_rows, sizes);
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const override {
    return kernels_.encode(storage_.layout(), row, dst);
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode(storage_.layout(), rows, num_rows, dst);
  }
  void account(const StoredRow& row, RowAccount& account) const override { rans::account(plan_, row, account); }

 private:
  Plan plan_;
  std::vector<std::byte> plan_bytes_;
  RowLayoutStorage storage_;
  const Kernels& kernels_;
};

}  // namespace

std::unique_ptr<RowCodec> make(const Plan& plan, cpu::Isa isa) {
  return std::make_unique<RansCodec>(plan, isa);
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(const Plan plan, parse(bytes, row_bytes));
  if (minimum_row_bytes(plan) >= row_bytes) return corrupt("rans plan makes no row smaller");
  return make(plan);
}

}  // namespace stillbit::rans
