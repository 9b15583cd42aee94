// pybind11 front end of the torch-free core: array conversion, no logic.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "ekd/buffer.hpp"
#include "ekd/error.hpp"
#include "ekd/hipnn_kernels.hpp"
#include "ekd/neighbor_list.hpp"

namespace py = pybind11;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Hands an array over to numpy, which frees it: nothing is copied.
template <class Values>
auto to_numpy(Values&& values, std::vector<py::ssize_t> shape) {
  using T = std::remove_reference_t<decltype(values[0])>;
  auto* owned = new std::remove_reference_t<Values>(std::forward<Values>(values));
  py::capsule owner(
      owned, [](void* pointer) { delete static_cast<std::remove_reference_t<Values>*>(pointer); });
  return py::array_t<T>(std::move(shape), owned->data(), owner);
}

ekd::StructureBatch make_batch(const Array<double>& positions, const Array<std::int64_t>& offsets,
                               const std::optional<Array<double>>& cells,
                               const std::optional<Array<std::uint8_t>>& pbc) {
  ekd::StructureBatch batch;
  batch.n_structures = offsets.size() - 1;
  batch.offsets = offsets.data();
  batch.positions = positions.data();
  batch.cells = cells ? cells->data() : nullptr;
  batch.pbc = pbc ? pbc->data() : nullptr;
  return batch;
}

py::tuple to_tuple(ekd::NeighborList&& list) {
  const auto n_pairs = static_cast<py::ssize_t>(list.n_pairs());
  const auto n_offsets = std::ssize(list.center_offsets);
  const auto n_structures = std::ssize(list.pair_offsets);
  return py::make_tuple(to_numpy(std::move(list.pairs), {2, n_pairs}),
                        to_numpy(std::move(list.cell_shifts), {n_pairs, 3}),
                        to_numpy(std::move(list.pair_vectors), {n_pairs, 3}),
                        to_numpy(std::move(list.pair_offsets), {n_structures}),
                        to_numpy(std::move(list.center_offsets), {n_offsets}));
}

py::tuple neighbor_list(const Array<double>& positions, const Array<std::int64_t>& offsets,
                        double cutoff, const std::optional<Array<double>>& cells,
                        const std::optional<Array<std::uint8_t>>& pbc, int n_threads) {
  const ekd::StructureBatch batch = make_batch(positions, offsets, cells, pbc);
  ekd::NeighborList list;
  {
    py::gil_scoped_release release;
    list = ekd::build_neighbor_list(batch, cutoff, n_threads);
  }
  return to_tuple(std::move(list));
}

py::tuple update(ekd::VerletList& verlet, const Array<double>& positions,
                 const Array<std::int64_t>& offsets, const std::optional<Array<double>>& cells,
                 const std::optional<Array<std::uint8_t>>& pbc, int n_threads) {
  const ekd::StructureBatch structure = make_batch(positions, offsets, cells, pbc);
  ekd::NeighborList list;
  {
    py::gil_scoped_release release;
    list = verlet.update(structure, n_threads);
  }
  return to_tuple(std::move(list));
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Torch-free C++ core of ekd.";
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ekd::StructureError& error) {
      py::set_error(py::module_::import("ekd.errors").attr("StructureError"), error.what());
    }
  });
  module.def("neighbor_list", &neighbor_list, py::arg("positions"), py::arg("offsets"),
             py::arg("cutoff"), py::arg("cells"), py::arg("pbc"), py::arg("n_threads"),
             "The arrays of ekd.neighbor_list.NeighborList, in its order.");
  py::class_<ekd::VerletList>(module, "VerletList")
      .def(py::init<double, double>(), py::arg("cutoff"), py::arg("skin"))
      .def("update", &update, py::arg("positions"), py::arg("offsets"), py::arg("cells"),
           py::arg("pbc"), py::arg("n_threads"),
           "The arrays of ekd.neighbor_list.NeighborList, in its order.")
      .def_property_readonly("n_rebuilds", &ekd::VerletList::n_rebuilds);
  module.def(
      "instruction_set", [] { return ekd::hipnn_kernels<float>().instruction_set; },
      "Name of the instruction set whose kernels this process runs: avx512, avx2 or portable.");
  module.def(
      "kept_bytes", [] { return ekd::BlockPool::common()->kept(); },
      "Memory of former lists that is kept for the next ones.");
}
