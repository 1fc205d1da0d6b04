#include "codecs/dictionary/dictionary.hpp"

#include "codecs/dictionary/account.hpp"
#include "codecs/dictionary/kernels.hpp"
#include "core/checked.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace stillbit::dictionary {
namespace {

class DictionaryCodec final : public RowCodec {
 public:
  explicit DictionaryCodec(Plan plan)
      : plan_(std::move(plan)),
        plan_bytes_(serialize(plan_)),
        minimum_row_bytes_(ceil_div(num_field_bits(plan_), 8)),
        kernels_(kernels(plan_.view_bytes)) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kDictionary; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_bytes_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return dictionary::warp_plan(plan_); }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override { return minimum_row_bytes_; }

  void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const override {
    const RowTables& laid_out = tables();
    kernels_.measure(laid_out, slots(), rows, num_rows, sizes);
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const override {
    const RowTables& laid_out = tables();
    return kernels_.encode(laid_out, slots(), row, dst);
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const override {
    return kernels_.decode(tables(), rows, num_rows, dst);
  }
  void account(const StoredRow& row, RowAccount& account) const override { dictionary::account(plan_, row, account); }

 private:
  /// Laid out when the first row comes: a file that is only looked at needs no tables.
  const RowTables& tables() const {
    std::call_once(laid_out_, [&] { storage_ = std::make_unique<RowTableStorage>(plan_); });
    return storage_->tables();
  }
  const std::byte* slots() const {
    std::call_once(slots_filled_, [&] { slots_ = make_slots(plan_, storage_->tables()); });
    return slots_.data();
  }

  Plan plan_;
  std::vector<std::byte> plan_bytes_;
  std::uint64_t minimum_row_bytes_;
  Kernels kernels_;
  mutable std::once_flag laid_out_;
  mutable std::once_flag slots_filled_;
  mutable std::unique_ptr<RowTableStorage> storage_;
  mutable std::vector<std::byte> slots_;
};

}  // namespace

std::unique_ptr<RowCodec> make(Plan plan) {
  return std::make_unique<DictionaryCodec>(std::move(plan));
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(Plan plan, parse(bytes, row_bytes));
  auto codec = make(std::move(plan));
  if (codec->minimum_row_bytes() >= row_bytes) return corrupt("dictionary plan makes no row smaller");
  return codec;
}

}  // namespace stillbit::dictionary
