#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ekd/error.hpp"
#include "ekd/parallel.hpp"
#include "ekd/sha256.hpp"

namespace {

// The neighbor list uses 32-bit indices of atoms.
constexpr std::int64_t kMostAtoms = std::numeric_limits<std::int32_t>::max();
constexpr int kMostThreads = 1024;
// Rows per work item of a thread.
constexpr std::int64_t kRows = 256;

using ekd::require;

template <class Values>
void copy(const Values& from, double* to) {
  if (to != nullptr) std::copy(from.begin(), from.end(), to);
}

double deviation(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0.0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / n);
}

void check(const ekd_options& options) {
  require(options.precision >= EKD_PRECISION_MODEL && options.precision <= EKD_PRECISION_DOUBLE,
          "precision is " + std::to_string(options.precision) +
              "; give one of ekd_precision, from 0 to 2 [EKD-API-001]");
  require(options.n_threads >= 0 && options.n_threads <= kMostThreads,
          "n_threads is " + std::to_string(options.n_threads) + "; give a number from 0 to " +
              std::to_string(kMostThreads) + " [EKD-API-001]");
  require(options.block >= 0, "block is " + std::to_string(options.block) +
                                  "; give the number of atoms that are evaluated at a time, or 0 "
                                  "for as many as fit [EKD-API-001]");
  require(options.skin >= 0.0 && std::isfinite(options.skin),
          "skin is " + std::to_string(options.skin) +
              " Å; it must be zero or positive, and finite [EKD-API-001]");
  require(
      options.no_self_test == 0 || options.no_self_test == 1,
      "no_self_test is " + std::to_string(options.no_self_test) + "; give 0 or 1 [EKD-API-001]");
  require(options.reserved == 0,
          "reserved is " + std::to_string(options.reserved) + "; give 0 [EKD-API-001]");
}

std::string required_sha256(const char* text) {
  try {
    return ekd::parse_sha256(text);
  } catch (const ekd::Error& error) {
    throw ekd::ArgumentError(error.what());
  }
}

ekd::ModelOptions model_options(const ekd_options& options) {
  constexpr ekd::Precision kPrecisions[] = {ekd::Precision::kModel, ekd::Precision::kSingle,
                                            ekd::Precision::kDouble};
  check(options);
  ekd::ModelOptions found;
  found.precision = kPrecisions[options.precision];
  found.block = options.block;
  if (options.device != nullptr) found.device = options.device;
  if (options.sha256 != nullptr) found.sha256 = required_sha256(options.sha256);
  return found;
}

}  // namespace

ekd_model::ekd_model(const char* path, const ekd_options& options)
    : path_(path),
      model_(path_, model_options(options)),
      list_(model_.metadata().cutoff, options.skin),
      n_threads_(std::max(1, options.n_threads)) {
  if (options.no_self_test == 0) model_.self_test();
  for (const std::int64_t number : metadata().atomic_numbers)
    atomic_numbers_.push_back(static_cast<std::int32_t>(number));
  for (const std::string& element : metadata().elements) elements_.push_back(element.c_str());
  free_atom_energies_ = model_.free_atom_energies();
}

ekd_description ekd_model::description() const {
  ekd_description found{};
  found.size = sizeof found;
  found.cutoff = metadata().cutoff;
  found.interaction_range = metadata().interaction_range;
  found.n_interactions = metadata().n_interactions;
  found.n_members = metadata().n_members;
  found.n_elements = std::ssize(elements_);
  found.atomic_numbers = atomic_numbers_.data();
  found.elements = elements_.data();
  found.free_atom_energies = free_atom_energies_.data();
  found.has_uncertainty = metadata().uncertainty ? 1 : 0;
  found.is_single = model_.is_single() ? 1 : 0;
  found.metadata_json = model_.metadata_json().c_str();
  found.sha256 = model_.sha256().c_str();
  return found;
}

void ekd_model::evaluate(std::int64_t n_atoms, const double* positions,
                         const std::int32_t* atomic_numbers, const double* cell, const int* pbc,
                         const ekd_results& to) {
  require(n_atoms >= 0 && n_atoms <= kMostAtoms, [&] {
    return "n_atoms is " + std::to_string(n_atoms) + "; give the number of atoms, which is 1 to " +
           std::to_string(kMostAtoms) + " [EKD-API-001]";
  });
  if (n_atoms == 0)
    throw ekd::StructureError("no atoms; a structure needs at least one atom [EKD-STRUCTURE-002]");
  require(positions != nullptr, "positions are NULL; give [n_atoms, 3] numbers [EKD-API-001]");
  require(atomic_numbers != nullptr,
          "atomic_numbers are NULL; give [n_atoms] numbers [EKD-API-001]");
  require(to.pair_gradients == nullptr,
          "pair_gradients are those of ekd_evaluate_rows; ekd_evaluate finds the pairs itself, and "
          "needs NULL there [EKD-API-001]");
  std::uint8_t periodic[3] = {};
  for (int d = 0; d < 3; ++d) {
    require(pbc == nullptr || pbc[d] == 0 || pbc[d] == 1,
            "pbc holds a number other than 0 and 1; give three of these, or NULL [EKD-API-001]");
    periodic[d] = pbc != nullptr ? pbc[d] != 0 : cell != nullptr;
  }
  check(to);

  const std::lock_guard lock(mutex_);
  set_species(n_atoms, atomic_numbers);
  const std::int64_t structure_offsets[2] = {0, n_atoms};
  ekd::StructureBatch structure;
  structure.n_structures = 1;
  structure.offsets = structure_offsets;
  structure.positions = positions;
  structure.cells = cell;
  structure.pbc = periodic;
  const ekd::NeighborList list = list_.update(structure, n_threads_);
  ekd::AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = n_atoms;
  graph.species = species_.data();
  graph.n_pairs = static_cast<std::int64_t>(list.n_pairs());
  graph.offsets = list.center_offsets.data();
  graph.neighbors = list.neighbors().data();
  graph.pair_vectors = list.pair_vectors.data();
  evaluate(graph, to);
}

void ekd_model::evaluate(const ekd_rows& rows, const ekd_results& to) {
  require(rows.n_atoms >= 0 && rows.n_atoms <= kMostAtoms, [&] {
    return "n_atoms is " + std::to_string(rows.n_atoms) + "; give the number of atoms, ghosts " +
           "included, which is at most " + std::to_string(kMostAtoms) + " [EKD-API-001]";
  });
  require(rows.n_owned >= 0 && rows.n_owned <= rows.n_atoms, [&] {
    return "n_owned is " + std::to_string(rows.n_owned) + "; give the number of atoms that are " +
           "evaluated, from 0 to n_atoms = " + std::to_string(rows.n_atoms) + " [EKD-API-001]";
  });
  require(rows.atomic_numbers != nullptr || rows.n_atoms == 0,
          "atomic_numbers are NULL; give [n_atoms] numbers [EKD-API-001]");
  require(rows.offsets != nullptr, "offsets are NULL; give [n_owned + 1] numbers [EKD-API-001]");
  for (std::int64_t i = 0; i <= rows.n_owned; ++i)
    require(i == 0 ? rows.offsets[0] == 0 : rows.offsets[i] >= rows.offsets[i - 1], [&] {
      return "offsets must ascend from 0; number " + std::to_string(i) + " is " +
             std::to_string(rows.offsets[i]) + " [EKD-API-001]";
    });
  const std::int64_t n_pairs = rows.offsets[rows.n_owned];
  require(rows.neighbors != nullptr || n_pairs == 0,
          "neighbors are NULL; give [n_pairs] numbers [EKD-API-001]");
  require(rows.pair_vectors != nullptr || n_pairs == 0,
          "pair_vectors are NULL; give [n_pairs, 3] numbers [EKD-API-001]");
  check(to);
  const bool has_ghosts = rows.n_owned < rows.n_atoms;
  if (has_ghosts && metadata().n_interactions > 1)
    throw ekd::UnsupportedError(
        "'" + path_ + "' has " + std::to_string(metadata().n_interactions) +
        " interactions, which need features of ghosts from the processes that own them; evaluate "
        "it without ghosts, or take a model with one interaction [EKD-API-004]");
  if (has_ghosts && (to.energy_std != nullptr || to.forces_std != nullptr))
    throw ekd::UnsupportedError(
        "energy_std and forces_std need all forces of each member; ask for them where there are no "
        "ghosts [EKD-API-005]");

  const std::lock_guard lock(mutex_);
  set_species(rows.n_atoms, rows.atomic_numbers);
  const ekd::AtomGraph graph = within_cutoff(rows);
  const ekd::StructureResults found = evaluate(graph, to);
  if (to.pair_gradients == nullptr) return;
  // Copy gradients to the original positions of the pairs.
  const double limit = metadata().cutoff * metadata().cutoff;
  ekd::parallel_ranges(n_threads_, 0, rows.n_owned, kRows,
                       [&](std::int64_t begin, std::int64_t end) {
                         const double* from = found.pair_gradients.data() + 3 * offsets_[begin];
                         for (std::int64_t p = rows.offsets[begin]; p < rows.offsets[end]; ++p) {
                           const double* const r = rows.pair_vectors + 3 * p;
                           const bool inside = r[0] * r[0] + r[1] * r[1] + r[2] * r[2] < limit;
                           for (int d = 0; d < 3; ++d)
                             to.pair_gradients[3 * p + d] = inside ? *from++ : 0.0;
                         }
                       });
}

void ekd_model::check(const ekd_results& to) const {
  if ((to.energy_std != nullptr || to.forces_std != nullptr) && metadata().n_members == 1)
    throw ekd::UnsupportedError("'" + path_ +
                                "' contains one student, so there is no energy_std or forces_std; "
                                "give NULL there, or use a committee [EKD-API-006]");
  if (to.uncertainty != nullptr && !metadata().uncertainty)
    throw ekd::UnsupportedError("'" + path_ +
                                "' does not predict uncertainties; give NULL there, or use a model "
                                "that does [EKD-API-006]");
}

void ekd_model::set_species(std::int64_t n_atoms, const std::int32_t* atomic_numbers) {
  species_.resize(n_atoms);
  for (std::int64_t i = 0; i < n_atoms; ++i) {
    const auto found = std::find(atomic_numbers_.begin(), atomic_numbers_.end(), atomic_numbers[i]);
    if (found == atomic_numbers_.end()) {
      std::string known;
      for (std::size_t k = 0; k < elements_.size(); ++k)
        known += (k > 0 ? ", " : "") + metadata().elements[k] + " (" +
                 std::to_string(atomic_numbers_[k]) + ")";
      throw ekd::StructureError(
          "atom " + std::to_string(i) + " has the atomic number " +
          std::to_string(atomic_numbers[i]) + ", but the model '" + path_ + "' supports only " +
          known +
          "; use a model that was trained on every element of the structure [EKD-STRUCTURE-003]");
    }
    species_[i] = found - atomic_numbers_.begin();
  }
}

ekd::AtomGraph ekd_model::within_cutoff(const ekd_rows& rows) {
  const double limit = metadata().cutoff * metadata().cutoff;
  const double overlap = ekd::kOverlapDistance * ekd::kOverlapDistance;
  offsets_.assign(rows.n_owned + 1, 0);
  ekd::parallel_ranges(
      n_threads_, 0, rows.n_owned, kRows, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          for (std::int64_t p = rows.offsets[i]; p < rows.offsets[i + 1]; ++p) {
            const double* const r = rows.pair_vectors + 3 * p;
            const double square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
            const auto name = [&] {
              return "number " + std::to_string(p) + ", a neighbor of atom " + std::to_string(i);
            };
            if (!std::isfinite(square))
              throw ekd::StructureError("the pair vector " + name() +
                                        ", is not finite; check the input or the simulation "
                                        "that made it [EKD-STRUCTURE-012]");
            require(rows.neighbors[p] >= 0 && rows.neighbors[p] < rows.n_atoms, [&] {
              return "neighbors must be from 0 to n_atoms - 1 = " +
                     std::to_string(rows.n_atoms - 1) + "; " + name() + ", is " +
                     std::to_string(rows.neighbors[p]) + " [EKD-API-001]";
            });
            if (square < overlap)
              throw ekd::StructureError("atoms " + std::to_string(i) + " and " +
                                        std::to_string(rows.neighbors[p]) +
                                        " are on top of each other; check the input or the "
                                        "simulation that made it [EKD-STRUCTURE-008]");
            offsets_[i + 1] += square < limit ? 1 : 0;
          }
      });
  std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
  const std::int64_t n_pairs = offsets_[rows.n_owned];
  // They never shrink, because the number changes slightly with every neighbor list.
  if (std::ssize(neighbors_) < n_pairs) {
    neighbors_.resize(n_pairs + n_pairs / 16);
    pair_vectors_.resize(3 * neighbors_.size());
  }
  ekd::parallel_ranges(n_threads_, 0, rows.n_owned, kRows,
                       [&](std::int64_t begin, std::int64_t end) {
                         std::int64_t to = offsets_[begin];
                         for (std::int64_t p = rows.offsets[begin]; p < rows.offsets[end]; ++p) {
                           const double* const r = rows.pair_vectors + 3 * p;
                           if (!(r[0] * r[0] + r[1] * r[1] + r[2] * r[2] < limit)) continue;
                           neighbors_[to] = rows.neighbors[p];
                           std::copy_n(r, 3, pair_vectors_.data() + 3 * to);
                           ++to;
                         }
                       });
  ekd::AtomGraph graph;
  graph.n_atoms = rows.n_atoms;
  graph.n_centers = graph.n_owned = rows.n_owned;
  graph.species = species_.data();
  graph.n_pairs = n_pairs;
  graph.offsets = offsets_.data();
  graph.neighbors = neighbors_.data();
  graph.pair_vectors = pair_vectors_.data();
  return graph;
}

ekd::StructureResults ekd_model::evaluate(const ekd::AtomGraph& input, const ekd_results& to) {
  ekd::AtomGraph graph = input;
  graph.n_threads = n_threads_;
  ekd::WantedResults wanted;
  wanted.spread = to.energy_std != nullptr || to.forces_std != nullptr;
  wanted.uncertainty = to.uncertainty != nullptr;
  ekd::StructureResults found = ekd::evaluate_structure(model_, graph, wanted);
  if (to.energy != nullptr)
    *to.energy = std::accumulate(found.atomic_energies.begin(), found.atomic_energies.end(), 0.0);
  copy(found.atomic_energies, to.atomic_energies);
  copy(found.forces, to.forces);
  copy(found.virial, to.virial);
  copy(found.forces_std, to.forces_std);
  copy(found.uncertainty, to.uncertainty);
  if (to.energy_std != nullptr) *to.energy_std = deviation(found.member_energies);
  return found;
}
