// pybind11 interface to the torch-free core: array conversion without logic.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ekd/archive.hpp"
#include "ekd/batch_results.hpp"
#include "ekd/buffer.hpp"
#include "ekd/close_pairs.hpp"
#include "ekd/device_check.hpp"
#include "ekd/error.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/hipnn_kernels.hpp"
#include "ekd/model_file.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/pair_offsets.hpp"
#include "ekd/structure_results.hpp"

namespace py = pybind11;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Passes an array to numpy without copying; numpy frees it.
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

// A model with its own memory, evaluated by one Python thread at a time.
struct Model {
  Model(const std::string& path, const ekd::ModelOptions& options) : model(path, options) {}

  ekd::ExportedModel model;
  std::mutex mutex;
};

std::unique_ptr<Model> open(const std::string& path, const std::string& device, std::int64_t block,
                            const std::function<std::uintptr_t()>& find_torch,
                            const std::string& sha256) {
  ekd::ModelOptions options;
  options.sha256 = sha256;
  options.device = device;
  options.block = block;
  options.find_torch = [&] { return reinterpret_cast<ekd::OpenScript>(find_torch()); };
  py::gil_scoped_release release;
  return std::make_unique<Model>(path, options);
}

// Evaluates pairs whose offsets have been checked.
py::tuple evaluate(Model& model, const Array<std::int64_t>& species, const std::int64_t* offsets,
                   const std::int64_t* neighbors, const double* pair_vectors, std::int64_t n_pairs,
                   int n_threads) {
  ekd::AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = species.size();
  graph.species = species.data();
  graph.n_pairs = n_pairs;
  graph.offsets = offsets;
  graph.neighbors = neighbors;
  graph.pair_vectors = pair_vectors;
  graph.n_threads = n_threads;
  ekd::StructureResults found;
  std::vector<ekd::ClosePair> close;
  {
    py::gil_scoped_release release;
    const std::lock_guard lock(model.mutex);
    found = ekd::evaluate_structure(model.model, graph);
    close = ekd::find_close_pairs(graph, model.model.metadata());
  }
  py::list close_pairs;
  for (const ekd::ClosePair& pair : close)
    close_pairs.append(py::make_tuple(pair.species[0], pair.species[1], pair.atoms[0],
                                      pair.atoms[1], pair.distance, pair.training_distance));
  const auto n = static_cast<py::ssize_t>(graph.n_atoms);
  const auto n_spread = std::ssize(found.forces_std);
  const auto n_uncertain = std::ssize(found.uncertainty);
  py::array_t<double> virial({3, 3});
  std::copy(found.virial.begin(), found.virial.end(), virial.mutable_data());
  const auto n_members = std::ssize(found.member_energies);
  const double energy =
      std::accumulate(found.atomic_energies.begin(), found.atomic_energies.end(), 0.0);
  return py::make_tuple(energy, to_numpy(std::move(found.atomic_energies), {n}),
                        to_numpy(std::move(found.forces), {n, 3}), std::move(virial),
                        to_numpy(std::move(found.member_energies), {n_members}),
                        to_numpy(std::move(found.forces_std), {n_spread}),
                        to_numpy(std::move(found.uncertainty), {n_uncertain}), close_pairs);
}

// Checks that requested data are inside the given arrays.
void require(bool holds, const char* what) {
  if (!holds) throw ekd::StructureError(what);
}

void require_species(const Model& model, const Array<std::int64_t>& species) {
  const std::int64_t n_species = std::ssize(model.model.metadata().elements);
  require(std::all_of(species.data(), species.data() + species.size(),
                      [&](std::int64_t s) { return s >= 0 && s < n_species; }),
          "a species is not the index of an element of the model [EKD-STRUCTURE-003]");
}

py::tuple evaluate_pairs(Model& model, const Array<std::int64_t>& species,
                         const Array<std::int64_t>& pairs, const Array<double>& pair_vectors,
                         int n_threads) {
  require(species.ndim() == 1 && pairs.ndim() == 2 && pairs.shape(0) == 2 &&
              pair_vectors.ndim() == 2 && pair_vectors.shape(0) == pairs.shape(1) &&
              pair_vectors.shape(1) == 3,
          "shapes do not fit: species are [n_atoms], pairs [2, n_pairs] and pair_vectors "
          "[n_pairs, 3] [EKD-STRUCTURE-004]");
  require_species(model, species);
  const std::int64_t n_pairs = pairs.shape(1);
  const std::int64_t* const neighbors = pairs.data() + n_pairs;
  const std::vector<std::int64_t> offsets =
      ekd::offsets_of(pairs.data(), neighbors, n_pairs, species.size());
  return evaluate(model, species, offsets.data(), neighbors, pair_vectors.data(), n_pairs,
                  n_threads);
}

py::tuple evaluate_structure(Model& model, ekd::VerletList& verlet,
                             const Array<std::int64_t>& species, const Array<double>& positions,
                             const std::optional<Array<double>>& cell,
                             const std::optional<Array<std::uint8_t>>& pbc, int n_threads) {
  require(
      positions.ndim() == 2 && positions.shape(1) == 3 && species.ndim() == 1 &&
          species.size() == positions.shape(0),
      "shapes do not fit: species are [n_atoms] and positions [n_atoms, 3] [EKD-STRUCTURE-004]");
  require((!cell || cell->size() == 9) && (!pbc || pbc->size() == 3),
          "shapes do not fit: a cell is [3, 3], pbc [3] [EKD-STRUCTURE-004]");
  require_species(model, species);
  const std::int64_t offsets[2] = {0, species.size()};
  ekd::StructureBatch structure;
  structure.n_structures = 1;
  structure.offsets = offsets;
  structure.positions = positions.data();
  structure.cells = cell ? cell->data() : nullptr;
  structure.pbc = pbc ? pbc->data() : nullptr;
  ekd::NeighborList list;
  {
    py::gil_scoped_release release;
    list = verlet.update(structure, n_threads);
  }
  return evaluate(model, species, list.center_offsets.data(), list.neighbors().data(),
                  list.pair_vectors.data(), static_cast<std::int64_t>(list.n_pairs()), n_threads);
}

// Ctrl-C between two evaluations.
void raise_if_interrupted() {
  const py::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

py::tuple evaluate_batch(Model& model, const Array<std::int64_t>& species,
                         const Array<double>& positions, const Array<std::int64_t>& offsets,
                         const std::optional<Array<double>>& cells,
                         const std::optional<Array<std::uint8_t>>& pbc, std::int64_t max_atoms,
                         int n_threads) {
  require(offsets.ndim() == 1 && offsets.size() > 0 && species.ndim() == 1 &&
              positions.ndim() == 2 && positions.shape(1) == 3 &&
              species.size() == positions.shape(0),
          "shapes do not fit: species are [n_atoms], positions [n_atoms, 3] and offsets "
          "[n_structures + 1] [EKD-STRUCTURE-004]");
  const ekd::StructureBatch batch = make_batch(positions, offsets, cells, pbc);
  const auto n = static_cast<py::ssize_t>(batch.n_structures);
  const std::int64_t* const end = offsets.data() + offsets.size();
  require(
      offsets.data()[0] == 0 && end[-1] == species.size() && std::is_sorted(offsets.data(), end),
      "offsets do not ascend from 0 to the number of atoms [EKD-STRUCTURE-005]");
  require((!cells || cells->size() == 9 * n) && (!pbc || pbc->size() == 3 * n),
          "shapes do not fit: cells are [n_structures, 3, 3], pbc [n_structures, 3] "
          "[EKD-STRUCTURE-004]");
  require_species(model, species);
  ekd::BatchOptions options;
  options.max_atoms = max_atoms;
  options.n_threads = n_threads;
  options.before_each = raise_if_interrupted;
  ekd::BatchResults found;
  {
    py::gil_scoped_release release;
    const std::lock_guard lock(model.mutex);
    found = ekd::evaluate_batch(model.model, batch, species.data(), options);
  }
  const auto n_atoms = static_cast<py::ssize_t>(species.size());
  const auto n_members = n > 0 ? std::ssize(found.member_energies) / n : 1;
  const auto n_spread = std::ssize(found.forces_std);
  const auto n_uncertain = std::ssize(found.uncertainty);
  return py::make_tuple(to_numpy(std::move(found.energies), {n}),
                        to_numpy(std::move(found.atomic_energies), {n_atoms}),
                        to_numpy(std::move(found.forces), {n_atoms, 3}),
                        to_numpy(std::move(found.virials), {n, 3, 3}),
                        to_numpy(std::move(found.member_energies), {n, n_members}),
                        to_numpy(std::move(found.forces_std), {n_spread}),
                        to_numpy(std::move(found.uncertainty), {n_uncertain}));
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Torch-free C++ core of ekd.";
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the signature is that of pybind11
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ekd::StructureError& error) {
      py::set_error(py::module_::import("ekd.errors").attr("StructureError"), error.what());
    } catch (const ekd::ModelFileError& error) {
      py::set_error(py::module_::import("ekd.errors").attr("ModelFileError"), error.what());
    } catch (const ekd::Error& error) {
      py::set_error(py::module_::import("ekd.errors").attr("EKDError"), error.what());
    } catch (const ekd::MemoryError& error) {
      py::set_error(PyExc_MemoryError, error.what());
    } catch (const std::bad_alloc&) {
      py::set_error(PyExc_MemoryError,
                    "there is not enough memory for these atoms and the pairs within the cutoff; "
                    "evaluate fewer at once, or use fewer processes [EKD-DEVICE-018]");
    }
  });
  module.def("neighbor_list", &neighbor_list, py::arg("positions"), py::arg("offsets"),
             py::arg("cutoff"), py::arg("cells"), py::arg("pbc"), py::arg("n_threads"),
             "The arrays of ekd.neighbor_list.NeighborList, in the same order.");
  py::class_<ekd::VerletList>(module, "VerletList")
      .def(py::init<double, double>(), py::arg("cutoff"), py::arg("skin"))
      .def("update", &update, py::arg("positions"), py::arg("offsets"), py::arg("cells"),
           py::arg("pbc"), py::arg("n_threads"),
           "The arrays of ekd.neighbor_list.NeighborList, in the same order.")
      .def_property_readonly("n_rebuilds", &ekd::VerletList::n_rebuilds);
  module.def(
      "read_model_file",
      [](const std::string& path) {
        const ekd::ModelFile file = ekd::read_model_file(path);
        return py::make_tuple(file.json, file.has_weights, file.archive.sha256());
      },
      py::arg("path"),
      "The checked JSON metadata of an exported model; whether it contains plain weights; and the "
      "SHA-256 of the file.");
  py::class_<ekd::Archive>(module, "Archive")
      .def(py::init<const std::string&>(), py::arg("path"))
      .def("sizes", &ekd::Archive::sizes, "Bytes of every record, by name without the folder.")
      .def(
          "read",
          [](const ekd::Archive& archive, const std::string& name) {
            return py::bytes(archive.read(name));
          },
          py::arg("name"), "A record, after checking its checksum.")
      .def("check_all", &ekd::Archive::check_all, "Check the checksums of all records.")
      .def("check_script", &ekd::Archive::check_script,
           "Check checksums and pickles before torch loads the archive as TorchScript.")
      .def_property_readonly(
          "content", [](const ekd::Archive& archive) { return py::bytes(*archive.content()); },
          "The bytes of the file.");
  py::class_<Model>(module, "ExportedModel")
      .def(py::init(&open), py::arg("path"), py::arg("device"), py::arg("block"),
           py::arg("find_torch"), py::arg("sha256") = "")
      .def_property_readonly("sha256", [](const Model& model) { return model.model.sha256(); })
      .def_property_readonly("metadata_json",
                             [](const Model& model) { return model.model.metadata_json(); })
      .def_property_readonly(
          "reduced",
          [](const Model& model) {
            return py::make_tuple(model.model.reduced_block(), model.model.reduced_max_atoms());
          },
          "Reduced block and max_atoms after memory has run out; 0: it has not.")
      .def("evaluate_pairs", &evaluate_pairs, py::arg("species"), py::arg("pairs"),
           py::arg("pair_vectors"), py::arg("n_threads"),
           "Energy, atomic energies, forces, virial, energies of the members, forces_std, "
           "uncertainty; and, for pairs closer than in the training data, two species, two atoms, "
           "their distance and that in the training data.")
      .def("evaluate_structure", &evaluate_structure, py::arg("verlet"), py::arg("species"),
           py::arg("positions"), py::arg("cell"), py::arg("pbc"), py::arg("n_threads"),
           "Like evaluate_pairs.")
      .def("evaluate_batch", &evaluate_batch, py::arg("species"), py::arg("positions"),
           py::arg("offsets"), py::arg("cells"), py::arg("pbc"), py::arg("max_atoms"),
           py::arg("n_threads"),
           "Like evaluate_pairs without close pairs, for many structures: energies, virials and "
           "energies of the members are arrays over structures.");
  module.def("check_device", &ekd::check_device, py::arg("device"),
             py::call_guard<py::gil_scoped_release>(),
             "Run kernels on a device, compare with the host, and return the device name.");
  module.def("count_cuda_devices", &ekd::count_cuda_devices, "GPUs that the NVIDIA driver finds.");
  module.def("nvrtc_version", &ekd::nvrtc_version, "Version and path of CUDA's compiler.");
  module.def("compile_kernels", &ekd::compile_kernels, py::arg("architecture"), py::arg("single"),
             py::arg("components"), py::arg("width") = 0, py::arg("sensitivities") = 0,
             py::call_guard<py::gil_scoped_release>(),
             "Compile the kernels for a CUDA architecture, 90 for sm_90; return their bytes.");
  module.def(
      "instruction_set", [] { return ekd::hipnn_kernels<float>().instruction_set; },
      "Name of the instruction set of the kernels in use: avx512, avx2 or portable.");
  module.def(
      "kept_bytes", [] { return ekd::BlockPool::common()->kept(); },
      "Memory of previous lists that is kept for later ones.");
}
