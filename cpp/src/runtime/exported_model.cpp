#include "ekd/exported_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <sstream>

#include "../device/device.hpp"
#include "device_network.hpp"
#include "ekd/error.hpp"
#include "ekd/forces.hpp"
#include "ekd/model_file.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/parallel.hpp"
#include "hipnn_network.hpp"

namespace ekd {
namespace {

// Calls act(k) for every index of an array.
template <class Act>
void each_number(const Buffer<double>& array, int n_threads, const Act& act) {
  constexpr std::int64_t kNumbersWorthAThread = 32768;
  parallel_ranges(n_threads, 0, std::ssize(array), kNumbersWorthAThread,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t k = begin; k < end; ++k) act(k);
                  });
}

void add(Buffer<double>& sum, const Buffer<double>& term, int n_threads) {
  each_number(sum, n_threads, [&](std::int64_t k) { sum[k] += term[k]; });
}

void divide(Buffer<double>& sum, double by, int n_threads) {
  each_number(sum, n_threads, [&](std::int64_t k) { sum[k] /= by; });
}

// NaN if any difference is NaN.
double largest_difference(const Buffer<double>& found, const std::vector<double>& expected) {
  double largest = 0.0;
  for (std::size_t k = 0; k < expected.size(); ++k) {
    const double difference = std::abs(found[k] - expected[k]);
    if (std::isnan(difference)) return difference;
    largest = std::max(largest, difference);
  }
  return largest;
}

}  // namespace

ExportedModel::ExportedModel(const std::string& path, const ModelOptions& options) : path_(path) {
  ModelFile file = read_model_file(path, options.sha256);
  metadata_ = file.metadata;
  json_ = file.json;
  sha256_ = file.archive.sha256();
  single_ = options.precision == Precision::kModel ? metadata_.dtype == "float32"
                                                   : options.precision == Precision::kSingle;
  device_ = options.device;
  process_ = options.process;
  if (options.device == "cpu" && file.has_weights) {
    for (const HipnnWeights& weights : read_weights(file)) {
      members_.push_back(make_hipnn_network(weights, single_, options.block));
      weights.arrays.check_all_used();
    }
    return;
  }
  if (device::is_device(options.device) && file.has_weights) {
    for (const HipnnWeights& weights : read_weights(file)) {
      members_.push_back(
          make_device_network(weights, options.device, single_, options.block, options.process));
      weights.arrays.check_all_used();
    }
    return;
  }
  if (options.device == "emulated")
    throw NeedsTorchError("device 'emulated' runs networks whose weights are plain numbers, and '" +
                          path + "' has none; convert it with 'ekd upgrade' [EKD-MODEL-006]");
  if (!options.find_torch && options.device != "cpu")
    throw DeviceError("device '" + options.device +
                      "' needs torch, which is not available; use device cpu [EKD-DEVICE-014]");
  if (!options.find_torch)
    throw NeedsTorchError(
        "'" + path +
        "' contains its network only as TorchScript, and torch is not available; convert it with "
        "'ekd upgrade', where torch is installed [EKD-MODEL-006]");
  const OpenScript open_script = options.find_torch();
  file.archive.check_script();
  members_ = open_script({path, file.archive.content().get(), &metadata_, options.device, single_,
                          options.block, options.n_threads, options.process});
}

std::int64_t ExportedModel::exchange_width() const {
  std::int64_t widest = 0;
  for (const auto& member : members_) widest = std::max(widest, member->exchange_width());
  return widest;
}

std::int64_t ExportedModel::reduced_block() const {
  std::int64_t smallest = 0;
  for (const auto& member : members_)
    if (const std::int64_t block = member->reduced_block();
        block > 0 && (smallest == 0 || block < smallest))
      smallest = block;
  return smallest;
}

std::vector<DeviceRows*> ExportedModel::on_device() {
  std::vector<DeviceRows*> found;
  for (const auto& member : members_)
    if (DeviceRows* const rows = member->on_device(); rows != nullptr) found.push_back(rows);
  return found;
}

Evaluation ExportedModel::evaluate(const AtomGraph& graph, GhostExchange& exchange,
                                   const std::function<void(const Evaluation&)>& each_member) {
  try {
    return evaluate_members(graph, exchange, each_member);
  } catch (const std::bad_alloc&) {
    const std::int64_t block = reduced_block();
    const std::string tried = block > 0 ? ", not even with block " + std::to_string(block) : "";
    std::ostringstream message;
    message << "there is not enough memory for " << graph.n_atoms << " atoms with " << graph.n_pairs
            << " pairs within the cutoff" << tried
            << "; use more processes with fewer atoms each, more memory, or single precision "
               "[EKD-DEVICE-018]";
    throw MemoryError(message.str());
  }
}

Evaluation ExportedModel::evaluate_members(
    const AtomGraph& input, GhostExchange& exchange,
    const std::function<void(const Evaluation&)>& each_member) {
  AtomGraph graph = input;
  graph.with_uncertainty = input.with_uncertainty && metadata_.uncertainty;
  Evaluation mean;  // first the sum; results of members are freed one after the other
  for (std::size_t k = 0; k < members_.size(); ++k) {
    Evaluation found = members_[k]->evaluate(graph, exchange);
    if (each_member) each_member(found);
    if (k == 0) {
      mean = std::move(found);
    } else {
      add(mean.atomic_energies, found.atomic_energies, graph.n_threads);
      add(mean.pair_gradients, found.pair_gradients, graph.n_threads);
      add(mean.uncertainty, found.uncertainty, graph.n_threads);
    }
  }
  if (members_.size() > 1) {
    const auto n_members = static_cast<double>(members_.size());
    divide(mean.atomic_energies, n_members, graph.n_threads);
    divide(mean.pair_gradients, n_members, graph.n_threads);
    divide(mean.uncertainty, n_members, graph.n_threads);
  }
  return mean;
}

std::vector<double> ExportedModel::free_atom_energies() {
  const auto n_species = static_cast<std::int64_t>(metadata_.elements.size());
  std::vector<std::int64_t> species(n_species);  // one atom of each element, without pairs
  std::iota(species.begin(), species.end(), 0);
  const std::vector<std::int64_t> offsets(n_species + 1, 0);
  AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = n_species;
  graph.species = species.data();
  graph.offsets = offsets.data();
  NoExchange nothing;
  const Evaluation found = evaluate(graph, nothing);
  return {found.atomic_energies.begin(), found.atomic_energies.end()};
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
  NeighborList list;
  try {
    list = build_neighbor_list(structure, metadata_.cutoff);
  } catch (const StructureError& error) {
    throw ModelFileError("'" + path_ + "' is damaged: its self-test has no valid structure (" +
                         error.what() + "); copy or export it again [EKD-MODEL-003]");
  }

  AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = n_atoms;
  graph.species = test.species.data();
  graph.n_pairs = static_cast<std::int64_t>(list.n_pairs());
  graph.offsets = list.center_offsets.data();
  graph.neighbors = list.neighbors().data();
  graph.pair_vectors = list.pair_vectors.data();
  graph.with_uncertainty = metadata_.uncertainty;
  NoExchange nothing;
  const Evaluation found = evaluate(graph, nothing);

  const double total =
      std::accumulate(found.atomic_energies.begin(), found.atomic_energies.end(), 0.0);
  const double energy = std::abs(total - test.energy) / static_cast<double>(n_atoms);
  const double force = largest_difference(forces(graph, found.pair_gradients.data()), test.forces);
  const double uncertainty =
      metadata_.uncertainty ? largest_difference(found.uncertainty, test.uncertainty) : 0.0;
  // A double-precision file run in single precision has errors of single precision.
  const double tolerance = single_ ? std::max(test.tolerance, 1e-4) : test.tolerance;
  if (energy <= tolerance && force <= tolerance && uncertainty <= tolerance) return;
  std::ostringstream message;
  message << "'" << path_ << "' fails its self-test: here it differs from the original model by "
          << energy << " eV/atom and " << std::max(force, uncertainty) << " eV/Å, expected below "
          << tolerance
          << "; check the installation with 'ekd check', or switch the test off to look further "
             "[EKD-MODEL-008]";
  throw SelfTestError(message.str());
}

}  // namespace ekd
