#include "bindings.hpp"

namespace stillbit::python {
namespace {

/// Looks a word up; throws with the words there are, which `names` lists.
template <class Value>
Value known(const char* what, const std::string& text, std::optional<Value> value, const std::string& names) {
  if (value) return *value;
  throw Error(ErrorCode::kInvalidArgument, std::string("unknown ") + what + " \"" + text + "\": it is one of " + names);
}

/// The names of values below `count` that `lookup` finds again.
template <class Value, class Lookup>
std::string names_of(unsigned count, Lookup lookup) {
  std::string names;
  for (unsigned number = 0; number < count; ++number) {
    const std::string text(name(static_cast<Value>(number)));
    if (lookup(text)) names += (names.empty() ? "" : ", ") + text;
  }
  return names;
}

}  // namespace

DType dtype_of(const std::string& text) {
  return known("dtype", text, dtype_from_name(text), names_of<DType>(kNumDTypes, dtype_from_name));
}

CompressOptions compress_options(const std::optional<std::string>& codec, const std::optional<std::string>& packing,
                                 const std::string& objective, unsigned row_dims, unsigned num_threads,
                                 Counter* counter) {
  constexpr unsigned kNumNumbers = 256;
  CompressOptions options;
  if (codec && *codec != "auto") {
    options.codec =
        known("codec", *codec, codec_from_name(*codec), "auto, " + names_of<Codec>(kNumNumbers, codec_from_name));
  }
  if (packing && *packing != "auto")
    options.packing = known("packing", *packing, packing_from_name(*packing), "auto, packed, slotted");
  options.objective =
      known("objective", objective, objective_from_name(objective), "storage, transfer, speed, smallest");
  options.row_dims = row_dims;
  options.num_threads = num_threads;
  options.progress = Counter::progress(counter);
  return options;
}

CompressOptions compress_options(const Plan* plan, const std::optional<std::string>& codec,
                                 const std::optional<std::string>& packing, const std::string& objective,
                                 unsigned row_dims, unsigned num_threads, Counter* counter) {
  CompressOptions options = compress_options(codec, packing, objective, row_dims, num_threads, counter);
  if (plan != nullptr) options.plan = std::make_shared<Plan>(*plan);
  return options;
}

}  // namespace stillbit::python
