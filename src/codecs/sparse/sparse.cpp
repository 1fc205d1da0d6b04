#include "codecs/sparse/sparse.hpp"

#include "codecs/sparse/account.hpp"
#include "codecs/sparse/kernels.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace stillbit::sparse {
namespace {

class SparseCodec final : public RowCodec {
 public:
  explicit SparseCodec(Plan plan)
      : plan_(std::move(plan)),
        plan_bytes_(serialize(plan_)),
        minimum_row_bytes_(sparse::minimum_row_bytes(plan_)),
        kernels_(kernels(plan_.view_bytes)) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kSparse; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_bytes_; }
  [[nodiscard]] warp::PlanBytes warp_plan() const override { return sparse::warp_plan(plan_); }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override { return minimum_row_bytes_; }

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
    return decode_staged(*this, plan_.row_bytes, rows, num_rows, dst);
  }
  void account(const StoredRow& row, RowAccount& account) const override { sparse::account(plan_, row, account); }

 private:
  /// Laid out when the first row comes: a file that is only looked at needs no table of its dictionary.
  const RowLayout& layout() const {
    std::call_once(laid_out_, [&] { storage_ = std::make_unique<RowLayoutStorage>(plan_); });
    return storage_->layout();
  }

  Plan plan_;
  std::vector<std::byte> plan_bytes_;
  std::uint64_t minimum_row_bytes_;
  const Kernels& kernels_;
  mutable std::once_flag laid_out_;
  mutable std::unique_ptr<RowLayoutStorage> storage_;
};

}  // namespace

std::unique_ptr<RowCodec> make(Plan plan) {
  return std::make_unique<SparseCodec>(std::move(plan));
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(Plan plan, parse(bytes, row_bytes));
  auto codec = make(std::move(plan));
  if (codec->minimum_row_bytes() >= row_bytes) return corrupt("sparse plan makes no row smaller");
  return codec;
}

}  // namespace stillbit::sparse
