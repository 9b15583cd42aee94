#include "ekd/exported_model.hpp"

#include <torch/script.h>

#include <algorithm>
#include <sstream>

#include "ekd/error.hpp"
#include "ekd/model_file.hpp"
#include "ekd/neighbor_list.hpp"
#include "make_network.hpp"

namespace ekd {

ExportedModel::ExportedModel(const std::string& path, const torch::Device& device,
                             Precision precision, std::int64_t block)
    : path_(path), metadata_(read_model_file(path).metadata), device_(device) {
  const bool single = precision == Precision::kModel ? metadata_.dtype == "float32"
                                                     : precision == Precision::kSingle;
  dtype_ = single ? torch::kFloat32 : torch::kFloat64;
  try {
    torch::empty({0}, torch::TensorOptions().device(device_));
  } catch (const std::exception&) {
    throw Error("device '" + device_.str() +
                "' cannot be used by this torch; use device cpu, or install a torch that supports "
                "it");
  }
  torch::jit::Module module;
  try {
    module = torch::jit::load(path, device_);
  } catch (const std::exception&) {
    throw ModelFileError("'" + path +
                         "' is truncated or damaged: its metadata is sound but the model does not "
                         "load; copy or export it again");
  }
  module.eval();
  for (const char* method : {"embed", "interact"})
    if (!module.find_method(method))
      throw ModelFileError("'" + path + "' has no method '" + method +
                           "'; export the model again with this version of ekd");
  // The engine builds neighbour lists and sizes buffers by the metadata: the module must agree.
  const auto agrees = [&](const char* name, const c10::IValue& value) {
    if (!module.hasattr(name) || module.attr(name) != value)
      throw ModelFileError("'" + path_ + "' is damaged: '" + name +
                           "' in its metadata is not that of the model; export it again");
  };
  agrees("cutoff", metadata_.cutoff);
  agrees("n_interactions", metadata_.n_interactions);
  agrees("feature_widths", c10::List<std::int64_t>(metadata_.feature_widths));
  members_.push_back(make_network(module, metadata_, device_, dtype_, block));
}

Evaluation ExportedModel::evaluate(const AtomGraph& input, FeatureExchange& exchange) {
  AtomGraph graph = input;
  graph.species = input.species.to(device_);
  graph.pairs = input.pairs.to(device_);
  graph.pair_vectors = input.pair_vectors.to(device_);
  const Evaluation found = members_.front()->evaluate(graph, exchange);
  return {found.atomic_energies.to(torch::kCPU), found.pair_gradients.to(torch::kCPU)};
}

void ExportedModel::self_test() {
  const SelfTest& test = metadata_.self_test;
  const auto n_atoms = static_cast<std::int64_t>(test.species.size());
  const std::array<std::int64_t, 2> offsets{0, n_atoms};
  StructureBatch structure;
  structure.n_structures = 1;
  structure.offsets = offsets.data();
  structure.positions = test.positions.data();
  structure.cells = test.cell.data();
  structure.pbc = test.pbc.data();
  NeighborList list = build_neighbor_list(structure, metadata_.cutoff);
  const auto n_pairs = static_cast<std::int64_t>(list.centers.size());

  AtomGraph graph;
  graph.species = torch::tensor(test.species, torch::kInt64);
  graph.pairs = torch::stack({torch::from_blob(list.centers.data(), {n_pairs}, torch::kInt64),
                              torch::from_blob(list.neighbors.data(), {n_pairs}, torch::kInt64)});
  graph.pair_vectors =
      torch::from_blob(list.pair_vectors.data(), {n_pairs, 3}, torch::kFloat64).clone();
  graph.n_centers = graph.n_owned = n_atoms;
  NoExchange nothing;
  const Evaluation found = evaluate(graph, nothing);

  const torch::Tensor forces = torch::zeros({n_atoms, 3}, torch::kFloat64)
                                   .index_add_(0, graph.pairs[0], found.pair_gradients)
                                   .index_add_(0, graph.pairs[1], -found.pair_gradients);
  const torch::Tensor expected = torch::tensor(test.forces, torch::kFloat64).view({n_atoms, 3});
  const double energy =
      std::abs(found.atomic_energies.sum().item<double>() - test.energy) / n_atoms;
  const double force = (forces - expected).abs().max().item<double>();
  // A double-precision file run in single precision is as exact as single precision is.
  const double tolerance =
      dtype_ == torch::kFloat32 ? std::max(test.tolerance, 1e-4) : test.tolerance;
  if (energy <= tolerance && force <= tolerance) return;
  std::ostringstream message;
  message << "'" << path_ << "' fails its self-test: here it differs from the original model by "
          << energy << " eV/atom and " << force << " eV/Å, expected below " << tolerance
          << "; check the installation with 'ekd check', or switch the test off to look further";
  throw ModelFileError(message.str());
}

}  // namespace ekd
