#include "ekd/exported_model.hpp"

#include <torch/script.h>

#include <algorithm>
#include <sstream>

#include "ekd/error.hpp"
#include "ekd/forces.hpp"
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
  // The engine builds neighbour lists and sizes buffers by the metadata: the modules must agree.
  const auto require = [&](bool agrees, const char* name) {
    if (!agrees)
      throw ModelFileError("'" + path_ + "' is damaged: '" + name +
                           "' in its metadata is not that of the model; export it again");
  };
  const auto check = [&](const torch::jit::Module& part) {
    const auto agrees = [&part](const char* name, const c10::IValue& value) {
      return part.hasattr(name) && part.attr(name) == value;
    };
    require(agrees("cutoff", metadata_.cutoff), "cutoff");
    require(agrees("n_interactions", metadata_.n_interactions), "n_interactions");
    require(agrees("feature_widths", c10::List<std::int64_t>(metadata_.feature_widths)),
            "feature_widths");
    const bool uncertain = part.hasattr("has_uncertainty") && part.attr("has_uncertainty").toBool();
    require(uncertain || !metadata_.uncertainty, "uncertainty");
  };
  check(module);
  if (module.hasattr("members")) {
    for (const torch::jit::Module& member : module.attr("members").toModule().children()) {
      check(member);
      for (const char* method : {"embed", "interact"})
        if (!member.find_method(method))
          throw ModelFileError("'" + path + "' has no method '" + method +
                               "'; export the model again with this version of ekd");
      members_.push_back(make_network(member, metadata_, device_, dtype_, block));
    }
  }
  require(static_cast<std::int64_t>(members_.size()) == metadata_.n_members, "n_members");
}

std::int64_t ExportedModel::exchange_width() const {
  std::int64_t widest = 0;
  for (const auto& member : members_) widest = std::max(widest, member->exchange_width());
  return widest;
}

Evaluation ExportedModel::evaluate(const AtomGraph& input, GhostExchange& exchange,
                                   const std::function<void(const Evaluation&)>& each_member) {
  AtomGraph graph = input;
  graph.species = input.species.to(device_);
  graph.offsets = input.offsets.to(device_);
  graph.neighbors = input.neighbors.to(device_);
  graph.pair_vectors = input.pair_vectors.to(device_);
  graph.with_uncertainty = input.with_uncertainty && metadata_.uncertainty;
  const auto on_cpu = [](const Evaluation& found) {
    return Evaluation{found.atomic_energies.to(torch::kCPU).contiguous(),
                      found.pair_gradients.to(torch::kCPU).contiguous(),
                      found.uncertainty.defined() ? found.uncertainty.to(torch::kCPU).contiguous()
                                                  : torch::Tensor()};
  };
  Evaluation mean;  // first the sum; what a member found does not outlive its turn
  for (const auto& member : members_) {
    const Evaluation found = member->evaluate(graph, exchange);
    if (each_member) each_member(on_cpu(found));
    if (!mean.pair_gradients.defined()) {
      mean = found;
    } else {
      mean.atomic_energies.add_(found.atomic_energies);
      mean.pair_gradients.add_(found.pair_gradients);
      if (graph.with_uncertainty) mean.uncertainty.add_(found.uncertainty);
    }
  }
  if (members_.size() > 1) {
    const auto n_members = static_cast<double>(members_.size());
    mean.atomic_energies.div_(n_members);
    mean.pair_gradients.div_(n_members);
    if (graph.with_uncertainty) mean.uncertainty.div_(n_members);
  }
  return on_cpu(mean);
}

std::vector<double> ExportedModel::free_atom_energies() {
  const auto n_species = static_cast<std::int64_t>(metadata_.elements.size());
  AtomGraph graph;  // one atom of each element, and no pairs
  graph.species = torch::arange(n_species, torch::kInt64);
  graph.offsets = torch::zeros({n_species + 1}, torch::kInt64);
  graph.neighbors = torch::empty({0}, torch::kInt64);
  graph.pair_vectors = torch::empty({0, 3}, torch::kFloat64);
  graph.n_owned = n_species;
  NoExchange nothing;
  const torch::Tensor energies = evaluate(graph, nothing).atomic_energies;
  const double* const first = energies.const_data_ptr<double>();
  return {first, first + n_species};
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
  const auto n_pairs = static_cast<std::int64_t>(list.n_pairs());

  AtomGraph graph;
  graph.species = torch::tensor(test.species, torch::kInt64);
  graph.offsets = torch::from_blob(list.center_offsets.data(), {n_atoms + 1}, torch::kInt64);
  graph.neighbors = torch::from_blob(list.pairs.data() + n_pairs, {n_pairs}, torch::kInt64);
  graph.pair_vectors = torch::from_blob(list.pair_vectors.data(), {n_pairs, 3}, torch::kFloat64);
  graph.n_owned = n_atoms;
  graph.with_uncertainty = metadata_.uncertainty;
  NoExchange nothing;
  const Evaluation found = evaluate(graph, nothing);

  const torch::Tensor found_forces = forces(graph, found.pair_gradients);
  const torch::Tensor expected = torch::tensor(test.forces, torch::kFloat64).view({n_atoms, 3});
  const double energy =
      std::abs(found.atomic_energies.sum().item<double>() - test.energy) / n_atoms;
  const double force = (found_forces - expected).abs().max().item<double>();
  const torch::Tensor told = torch::tensor(test.uncertainty, torch::kFloat64);
  const double uncertainty =
      metadata_.uncertainty ? (found.uncertainty - told).abs().max().item<double>() : 0.0;
  // A double-precision file run in single precision is as exact as single precision is.
  const double tolerance =
      dtype_ == torch::kFloat32 ? std::max(test.tolerance, 1e-4) : test.tolerance;
  if (energy <= tolerance && force <= tolerance && uncertainty <= tolerance) return;
  std::ostringstream message;
  message << "'" << path_ << "' fails its self-test: here it differs from the original model by "
          << energy << " eV/atom and " << std::max(force, uncertainty) << " eV/Å, expected below "
          << tolerance
          << "; check the installation with 'ekd check', or switch the test off to look further";
  throw ModelFileError(message.str());
}

}  // namespace ekd
