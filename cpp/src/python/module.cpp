// pybind11 front end of the torch-free core: array conversion, no logic.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "ekd/error.hpp"
#include "ekd/neighbor_list.hpp"

namespace py = pybind11;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Hands a vector to numpy without copying it.
template <class T>
py::array_t<T> to_numpy(std::vector<T>&& values, std::vector<py::ssize_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  py::capsule owner(owned, [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>(std::move(shape), owned->data(), owner);
}

py::tuple neighbor_list(const Array<double>& positions, const Array<std::int64_t>& offsets,
                        double cutoff, const std::optional<Array<double>>& cells,
                        const std::optional<Array<std::uint8_t>>& pbc) {
  ekd::StructureBatch batch;
  batch.n_structures = offsets.size() - 1;
  batch.offsets = offsets.data();
  batch.positions = positions.data();
  batch.cells = cells ? cells->data() : nullptr;
  batch.pbc = pbc ? pbc->data() : nullptr;
  ekd::NeighborList list;
  {
    py::gil_scoped_release release;
    list = ekd::build_neighbor_list(batch, cutoff);
    list.centers.insert(list.centers.end(), list.neighbors.begin(), list.neighbors.end());
  }
  const auto n_pairs = static_cast<py::ssize_t>(list.neighbors.size());
  return py::make_tuple(to_numpy(std::move(list.centers), {2, n_pairs}),
                        to_numpy(std::move(list.cell_shifts), {n_pairs, 3}),
                        to_numpy(std::move(list.pair_vectors), {n_pairs, 3}),
                        to_numpy(std::move(list.pair_offsets), {batch.n_structures + 1}));
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
             py::arg("cutoff"), py::arg("cells") = py::none(), py::arg("pbc") = py::none(),
             "pairs, cell_shifts, pair_vectors, pair_offsets of a batch; see ekd.neighbor_list");
}
