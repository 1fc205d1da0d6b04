#pragma once

#include <stillbit/error.hpp>

#include <string>
#include <utility>
#include <variant>

namespace stillbit {

/// What went wrong, as a value. Becomes an `Error` at the public edge.
struct Fault {
  ErrorCode code;
  std::string message;
};

inline Fault corrupt(std::string message) {
  return {ErrorCode::kCorrupt, std::move(message)};
}
inline Fault invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}
inline Fault unsupported(std::string message) {
  return {ErrorCode::kUnsupported, std::move(message)};
}

/// A value or a fault. (`std::expected` is not in GCC 12.)
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Fault fault) : state_(std::in_place_index<1>, std::move(fault)) {}

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  [[nodiscard]] T& value() & { return std::get<0>(state_); }
  [[nodiscard]] const T& value() const& { return std::get<0>(state_); }
  [[nodiscard]] T&& value() && { return std::get<0>(std::move(state_)); }
  [[nodiscard]] const Fault& fault() const { return std::get<1>(state_); }

 private:
  std::variant<T, Fault> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Fault fault) : fault_(std::move(fault)), ok_(false) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] const Fault& fault() const { return fault_; }

 private:
  Fault fault_{};
  bool ok_ = true;
};

/// The public edge: a fault becomes the exception that names it.
inline void unwrap(const Result<void>& result) {
  if (!result.ok()) throw Error(result.fault().code, result.fault().message);
}
template <class T>
T unwrap(Result<T> result) {
  if (!result.ok()) throw Error(result.fault().code, result.fault().message);
  return std::move(result).value();
}

/// Puts what the fault is about before its message: "model.safetensors: tensor \"a\": …".
inline Fault in_context(const std::string& context, const Fault& fault) {
  return {fault.code, context + ": " + fault.message};
}

}  // namespace stillbit

#define STILLBIT_CONCAT_(a, b) a##b
#define STILLBIT_CONCAT(a, b) STILLBIT_CONCAT_(a, b)

/// `STILLBIT_CHECK(expr);` returns the fault of a Result from the calling function, if it has one.
#define STILLBIT_CHECK(...)                                                              \
  do {                                                                                   \
    if (const Result<void> STILLBIT_CONCAT(stillbit_checked_, __LINE__) = (__VA_ARGS__); \
        !STILLBIT_CONCAT(stillbit_checked_, __LINE__).ok())                              \
      return STILLBIT_CONCAT(stillbit_checked_, __LINE__).fault();                       \
  } while (false)

/// `STILLBIT_TRY(auto x, expr);` declares x as the value of a Result, or returns its fault.
#define STILLBIT_TRY(declaration, ...)                                                                               \
  auto STILLBIT_CONCAT(stillbit_result_, __LINE__) = (__VA_ARGS__);                                                  \
  if (!STILLBIT_CONCAT(stillbit_result_, __LINE__).ok()) return STILLBIT_CONCAT(stillbit_result_, __LINE__).fault(); \
  declaration = std::move(STILLBIT_CONCAT(stillbit_result_, __LINE__)).value()
