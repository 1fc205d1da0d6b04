#include "codecs/ibp/ibp.hpp"

#include "codecs/ibp/kernels.hpp"

namespace stillbit::ibp {
namespace {

class IbpCodec final : public RowCodec {
 public:
  explicit IbpCodec(const Plan& plan)
      : plan_(serialize(plan)), storage_(plan), masks_(storage_.masks()), kernels_(kernels(plan.view_bytes)) {}

  [[nodiscard]] Codec codec() const noexcept override { return Codec::kIbp; }
  [[nodiscard]] const std::vector<std::byte>& plan() const noexcept override { return plan_; }
  [[nodiscard]] std::uint64_t minimum_row_bytes() const noexcept override { return masks_.minimum_row_bytes; }

  void measure(const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) const noexcept override {
    kernels_.measure(masks_, rows, num_rows, sizes);
  }
  std::uint64_t encode(const std::byte* row, std::byte* dst) const noexcept override {
    return kernels_.encode(masks_, row, dst);
  }
  std::uint64_t decode(const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) const noexcept override {
    return kernels_.decode(masks_, rows, num_rows, dst);
  }

 private:
  std::vector<std::byte> plan_;
  RowMaskStorage storage_;
  const RowMasks& masks_;
  const Kernels& kernels_;
};

}  // namespace

std::unique_ptr<RowCodec> make(const Plan& plan) {
  return std::make_unique<IbpCodec>(plan);
}

Result<std::unique_ptr<RowCodec>> open(Bytes bytes, std::uint64_t row_bytes) {
  STILLBIT_TRY(const Plan plan, parse(bytes, row_bytes));
  auto codec = make(plan);
  if (codec->minimum_row_bytes() >= row_bytes) return corrupt("ibp plan makes no row smaller");
  return codec;
}

}  // namespace stillbit::ibp
