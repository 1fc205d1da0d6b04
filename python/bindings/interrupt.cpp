#include "bindings.hpp"

namespace stillbit::python {
namespace {

namespace nb = nanobind;

/// Runs Python's signal handlers. They run on the main thread only: on others this does nothing.
void check_signals() {
  const nb::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

}  // namespace

LongCall::LongCall() : interrupt_(check_signals) {}

}  // namespace stillbit::python
