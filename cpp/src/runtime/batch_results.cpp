#include "ekd/batch_results.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <numeric>
#include <vector>

#include "ekd/error.hpp"
#include "ekd/forces.hpp"

namespace ekd {
namespace {

// Fits into the caches of a core. Several threads get more, because they synchronize several times
// per evaluation.
std::int64_t default_atoms(int n_threads) { return n_threads == 1 ? 512 : 2048 * n_threads; }
// Sufficient to use a whole GPU.
constexpr std::int64_t kAtomsOfDevice = 65536;

// Structures of a batch that are evaluated together; their atoms begin at first_atom.
struct Group {
  Group(const StructureBatch& all, std::int64_t first, std::int64_t end)
      : first(first), first_atom(all.offsets[first]) {
    for (std::int64_t s = first; s <= end; ++s) offsets.push_back(all.offsets[s] - first_atom);
    structures.n_structures = end - first;
    structures.offsets = offsets.data();
    structures.positions = all.positions + 3 * first_atom;
    if (all.cells != nullptr) structures.cells = all.cells + 9 * first;
    if (all.pbc != nullptr) structures.pbc = all.pbc + 3 * first;
    structures.first_number = std::max<std::int64_t>(all.first_number, 0) + first;
  }
  Group(const Group&) = delete;

  std::int64_t first;
  std::int64_t first_atom;
  std::vector<std::int64_t> offsets;
  StructureBatch structures;
};

// Index after the last structure of a group.
std::int64_t end_of_group(const StructureBatch& batch, std::int64_t first, std::int64_t max_atoms) {
  const std::int64_t* const end = batch.offsets + batch.n_structures + 1;
  const std::int64_t most = std::min(max_atoms, end[-1]);
  const std::int64_t last =
      std::upper_bound(batch.offsets + first, end, batch.offsets[first] + most) - batch.offsets - 1;
  return std::max(last, first + 1);
}

double sum(const Buffer<double>& values, std::int64_t begin, std::int64_t end) {
  return std::accumulate(values.begin() + begin, values.begin() + end, 0.0);
}

// Evaluates a group as one graph, and copies its results to those of the batch.
void evaluate_group(ExportedModel& model, const Group& group, const std::int64_t* species,
                    const BatchOptions& options, BatchResults& results) {
  const std::int64_t n_structures = group.structures.n_structures;
  const auto n_members =
      static_cast<std::int64_t>(results.member_energies.size() / results.energies.size());
  const NeighborList list =
      build_neighbor_list(group.structures, model.metadata().cutoff, options.n_threads);
  AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = group.offsets.back();
  graph.species = species + group.first_atom;
  graph.n_pairs = static_cast<std::int64_t>(list.n_pairs());
  graph.offsets = list.center_offsets.data();
  graph.neighbors = list.neighbors().data();
  graph.pair_vectors = list.pair_vectors.data();
  graph.with_uncertainty = options.wanted.uncertainty;
  graph.n_threads = options.n_threads;

  double* const energies = results.energies.data() + group.first;
  double* const member_energies = results.member_energies.data() + group.first * n_members;
  const auto add_up = [&](const Buffer<double>& atomic_energies, double* to, std::int64_t stride) {
    for (std::int64_t s = 0; s < n_structures; ++s)
      to[s * stride] = sum(atomic_energies, group.offsets[s], group.offsets[s + 1]);
  };
  std::vector<Buffer<double>> member_forces;
  std::function<void(const Evaluation&)> each_member;
  if (n_members > 1)
    each_member = [&](const Evaluation& found) {
      add_up(found.atomic_energies, member_energies + member_forces.size(), n_members);
      member_forces.push_back(forces(graph, found.pair_gradients.data(), group.offsets));
    };
  NoExchange nothing;
  const Evaluation mean = model.evaluate(graph, nothing, each_member);

  const double* const gradients = mean.pair_gradients.data();
  const Buffer<double> mean_forces = forces(graph, gradients, group.offsets);
  const auto put = [&](const Buffer<double>& values, std::int64_t width, Buffer<double>& to) {
    std::copy(values.begin(), values.end(), to.begin() + width * group.first_atom);
  };
  add_up(mean.atomic_energies, energies, 1);
  if (n_members == 1) std::copy_n(energies, n_structures, member_energies);
  put(mean.atomic_energies, 1, results.atomic_energies);
  put(mean_forces, 3, results.forces);
  if (n_members > 1) put(forces_spread(member_forces, mean_forces), 1, results.forces_std);
  put(mean.uncertainty, 1, results.uncertainty);
  double* virial = results.virials.data() + 9 * group.first;
  for (const auto& found : virials(graph, gradients, group.offsets))
    virial = std::copy(found.begin(), found.end(), virial);
}

}  // namespace

BatchResults evaluate_batch(ExportedModel& model, const StructureBatch& batch,
                            const std::int64_t* species, const BatchOptions& options) {
  const std::int64_t n_structures = batch.n_structures;
  const std::int64_t n_atoms = batch.offsets[n_structures];
  const bool with_spread = options.wanted.spread && model.metadata().n_members > 1;
  const bool with_uncertainty = options.wanted.uncertainty && model.metadata().uncertainty;
  const std::int64_t usual =
      model.device() == "cpu" ? default_atoms(options.n_threads) : kAtomsOfDevice;
  std::int64_t max_atoms = options.max_atoms > 0 ? options.max_atoms : usual;
  BatchResults results;
  results.energies = Buffer<double>(n_structures);
  results.atomic_energies = Buffer<double>(n_atoms);
  results.forces = Buffer<double>(3 * n_atoms);
  results.virials = Buffer<double>(9 * n_structures);
  results.member_energies =
      Buffer<double>(n_structures * (with_spread ? model.metadata().n_members : 1));
  results.forces_std = Buffer<double>(with_spread ? n_atoms : 0);
  results.uncertainty = Buffer<double>(with_uncertainty ? n_atoms : 0);
  for (std::int64_t first = 0; first < n_structures;) {
    const std::int64_t end = end_of_group(batch, first, max_atoms);
    if (options.before_each) options.before_each();
    bool there_is_room = false;
    try {
      evaluate_group(model, Group(batch, first, end), species, options, results);
      there_is_room = true;
    } catch (const std::bad_alloc&) {
      if (end == first + 1) throw;
    } catch (const DeviceMemoryError&) {
      if (end == first + 1) throw;
    }
    if (there_is_room) {
      first = end;
    } else {
      max_atoms = std::max<std::int64_t>(1, (batch.offsets[end] - batch.offsets[first]) / 2);
      model.set_reduced_max_atoms(max_atoms);
    }
  }
  return results;
}

}  // namespace ekd
