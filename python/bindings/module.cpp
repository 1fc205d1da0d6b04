#include "bindings.hpp"

namespace {

namespace nb = nanobind;
using stillbit::python::Counter;

/// The start of numpy's PyArrayInterface ("The array interface protocol", C-struct access): what `__array_struct__`
/// points to, in every version.
struct ArrayInterface {
  int two;
  int nd;
  char typekind;
  int itemsize;
  int flags;
  Py_intptr_t* shape;
  Py_intptr_t* strides;
  void* data;
};

/// numpy's own ways to say so, `ctypes.data` and `__array_interface__`, take longer than gathering a row.
std::uintptr_t address_of(nb::handle array) {
  const nb::object capsule = array.attr("__array_struct__");
  const auto* interface = static_cast<const ArrayInterface*>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
  if (interface == nullptr) throw nb::python_error();
  return reinterpret_cast<std::uintptr_t>(interface->data);
}

}  // namespace

NB_MODULE(_core, module) {
  module.doc() = "Stillbit's core, as the package around it uses it. Arguments are not checked here: use stillbit.";
  module.attr("version") = STILLBIT_VERSION;
  module.def("address_of", address_of, nb::arg("array"), "Address of a numpy array's first element.");
  nb::class_<Counter>(module, "Counter", "Bytes done so far, for progress bars.")
      .def(nb::init<>())
      .def(
          "add", [](Counter& counter, std::uint64_t num_bytes) { counter.num_bytes += num_bytes; },
          nb::arg("num_bytes"))
      .def_prop_ro("num_bytes", [](const Counter& counter) { return counter.num_bytes.load(); });
  stillbit::python::bind_errors();
  stillbit::python::bind_tensor(module);
  stillbit::python::bind_plan(module);
  stillbit::python::bind_cuda(module);
  stillbit::python::bind_files(module);
  stillbit::python::bind_stream(module);
  stillbit::python::bind_tiers(module);
  stillbit::python::bind_ibp(module);
}
