#include "bindings.hpp"

#include <string_view>

namespace stillbit::python {
namespace {

namespace nb = nanobind;

/// The class in stillbit.errors.
const char* class_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "InvalidArgumentError";
    case ErrorCode::kOutOfRange:
      return "OutOfRangeError";
    case ErrorCode::kCorrupt:
      return "CorruptError";
    case ErrorCode::kUnsupported:
      return "UnsupportedError";
    case ErrorCode::kMismatch:
      return "MismatchError";
    case ErrorCode::kIo:
      return "IoError";
    case ErrorCode::kDevice:
      return "DeviceError";
  }
  return "Error";
}

void translate(const std::exception_ptr& exception, void* /*payload*/) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    const nb::object type = nb::module_::import_("stillbit.errors").attr(class_name(error.code()));
    const std::string_view text = error.what();
    // File names need not be UTF-8.
    const auto message = nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
    PyErr_SetObject(type.ptr(), message.ptr());
  }
}

}  // namespace

void bind_errors() {
  nb::register_exception_translator(translate);
}

}  // namespace stillbit::python
