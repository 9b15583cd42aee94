// A step of pair_style ekd: input from LAMMPS, and output to it.
#include <algorithm>
#include <cmath>

#include "atom.h"
#include "comm.h"
#include "ekd/error.hpp"
#include "ekd/neighbor_list.hpp"
#include "error.h"
#include "exceptions.h"
#include "force.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_ekd.h"
#include "rank_error.h"
#include "text.h"
#include "update.h"

using namespace LAMMPS_NS;

namespace {
constexpr int kGroupAll = 1;  // bit of the group with all atoms
}

// On one rank, every ghost is the image of an atom that is evaluated anyway: models with several
// interactions get no ghosts, unless they must evaluate them. Models with one interaction need only
// the elements of ghosts.
bool PairEKD::shows_ghosts() const {
  return comm->nprocs > 1 || settings_.wide_ghosts || !has_features();
}

// Whether the model needs more of a neighbor than its element.
bool PairEKD::has_features() const { return model_->metadata().n_interactions > 1; }

// Replaces ghosts with their owner if it is on this rank, because an image has the features of its
// owner, and forces on it are forces on the owner. Owners change when LAMMPS makes new ghosts, with
// its lists.
void PairEKD::find_owners() {
  if (neighbor->ago != 0 && owners_known_) return;
  owners_known_ = true;
  const int n_all = atom->nlocal + atom->nghost;
  std::vector<double> owner(2 * static_cast<std::size_t>(n_all));  // rank, and index there
  for (int i = 0; i < atom->nlocal; ++i) {
    owner[2 * i] = comm->me;
    owner[2 * i + 1] = i;
  }
  copy_to_ghosts({owner.data(), 2});
  owners_.resize(n_all);
  for (int i = 0; i < n_all; ++i)
    owners_[i] = owner[2 * i] == comm->me ? static_cast<std::int64_t>(owner[2 * i + 1]) : i;
}

void PairEKD::gather_species() {
  const int n_all = atom->nlocal + (shows_ghosts() ? atom->nghost : 0);
  atoms_.n_owned = atom->nlocal;
  atoms_.complete = settings_.wide_ghosts || !shows_ghosts();
  atoms_.species.resize(n_all);
  // Types without an element are in no pair, so their species is never used.
  for (int i = 0; i < n_all; ++i)
    atoms_.species[i] = std::max<std::int64_t>(0, species_of_type_[atom->type[i]]);
}

// Keeps those of the n neighbors of an atom that have an element. Returns their number.
std::int64_t PairEKD::drop_unknown(std::int64_t* neighbors, double* vectors, std::int64_t n) const {
  std::int64_t kept = 0;
  for (std::int64_t k = 0; k < n; ++k) {
    if (species_of_type_[atom->type[neighbors[k]]] < 0) continue;
    neighbors[kept] = neighbors[k];
    std::copy_n(vectors + 3 * k, 3, vectors + 3 * kept);
    ++kept;
  }
  return kept;
}

// The pairs of owned atoms within the cutoff, sorted by center.
void PairEKD::gather_pairs() {
  const bool has_owners = has_features();
  if (has_owners) find_owners();
  std::size_t most = 0;  // upper bound plus one: see below
  for (int ii = 0; ii < list->inum; ++ii) most += list->numneigh[list->ilist[ii]];
  atoms_.reserve_pairs(most + 1);
  const double* const x = atom->nlocal > 0 ? atom->x[0] : nullptr;
  const bool all_known = std::all_of(species_of_type_.begin() + 1, species_of_type_.end(),
                                     [](auto s) { return s >= 0; });
  const double cut_squared = cutoff_ * cutoff_;
  constexpr double kOverlapSquared = ekd::kOverlapDistance * ekd::kOverlapDistance;
  std::int64_t n = 0;
  int next = 0;  // next atom whose pairs are expected
  atoms_.offsets.resize(atom->nlocal + 1);
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    if (i < next)
      ekd::end_rank(lmp, FLERR,
                    "pair_style ekd: the neighbor list is not in atom order [EKD-PAIR-024]");
    const int type = atom->type[i];
    if (species_of_type_[type] < 0) continue;
    while (next <= i) atoms_.offsets[next++] = n;
    // Fixes with trial deletions (fix gcmc) remove the atoms from group all and exclude their pairs
    // with it. LAMMPS keeps pairs between these atoms.
    if (neighbor->exclude != 0 && (atom->mask[i] & kGroupAll) == 0) continue;
    const int* const neighbors = list->firstneigh[i];
    const int n_neighbors = list->numneigh[i];
    if (candidates_.size() <= static_cast<std::size_t>(n_neighbors))
      candidates_.resize(2 * static_cast<std::size_t>(n_neighbors) + 1);
    int* const candidates = candidates_.data();
    int n_candidates = 0;
    const double reach =
        is_watching_ ? std::max(kOverlapSquared, close_.reach_squared(species_of_type_[type]))
                     : kOverlapSquared;
    const double xi = x[3 * i], yi = x[3 * i + 1], zi = x[3 * i + 2];
    // Local copies, because the compiler cannot exclude that the writes below alias the members.
    std::int64_t* const row = atoms_.neighbors.data() + n;
    double* const vectors = atoms_.pair_vectors.data() + 3 * n;
    std::int64_t found = 0;
    for (int jj = 0; jj < n_neighbors; ++jj) {
      const int j = neighbors[jj] & NEIGHMASK;
      const double* const xj = x + 3 * static_cast<std::size_t>(j);
      const double rx = xj[0] - xi, ry = xj[1] - yi, rz = xj[2] - zi;
      const double squared = rx * rx + ry * ry + rz * rz;
      // Always written, and kept if within the cutoff, which is hard to predict.
      row[found] = j;
      vectors[3 * found] = rx;
      vectors[3 * found + 1] = ry;
      vectors[3 * found + 2] = rz;
      candidates[n_candidates] = static_cast<int>(found);
      n_candidates += static_cast<int>(squared < reach);
      found += static_cast<std::int64_t>(squared < cut_squared);
    }
    for (int c = 0; c < n_candidates; ++c) {
      const int j = static_cast<int>(row[candidates[c]]);
      if (species_of_type_[atom->type[j]] < 0) continue;
      const double* const r = vectors + 3 * static_cast<std::size_t>(candidates[c]);
      const double squared = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
      if (squared < kOverlapSquared) report_overlap(i, j, std::sqrt(squared));
      if (is_watching_) watch(i, j, squared);
    }
    if (!all_known) found = drop_unknown(row, vectors, found);
    if (has_owners)
      for (std::int64_t k = 0; k < found; ++k) row[k] = owners_[row[k]];
    n += found;
  }
  while (next <= atom->nlocal) atoms_.offsets[next++] = n;
  atoms_.n_pairs = n;
}

// With wide ghosts, LAMMPS's list cannot be used: ghosts have no neighbors in it, or, on request,
// neighbors that ignore exclusions. Here, owned atoms and ghosts are treated as a cluster, in which
// the outermost ghosts lack neighbors but are too far away to matter.
void PairEKD::gather_pairs_of_ghosts_too() {
  const std::int64_t n_all = atom->nlocal + atom->nghost;
  const std::int64_t offsets[2] = {0, n_all};
  atoms_.n_pairs = 0;
  atoms_.offsets.assign(1, 0);
  if (n_all == 0) return;
  ekd::StructureBatch cluster;
  cluster.n_structures = 1;
  cluster.offsets = offsets;
  cluster.positions = &atom->x[0][0];
  const ekd::NeighborList found = ekd::build_neighbor_list(cluster, cutoff_);
  atoms_.n_pairs = static_cast<std::int64_t>(found.n_pairs());
  atoms_.reserve_pairs(found.n_pairs());
  atoms_.offsets = found.center_offsets;
  std::copy(found.neighbors().begin(), found.neighbors().end(), atoms_.neighbors.begin());
  std::copy(found.pair_vectors.begin(), found.pair_vectors.end(), atoms_.pair_vectors.begin());
}

void PairEKD::report_overlap(int i, int j, double distance) {
  ekd::end_rank(
      lmp, FLERR,
      ekd::format(
          "pair_style ekd: atoms {} and {} are {:.3g} Angstrom apart: they lie on top of each "
          "other; use delete_atoms overlap, or check the box and its boundaries [EKD-PAIR-021]",
          atom->tag[i], atom->tag[j], distance));
}

void PairEKD::tally_energies(const double* atomic_energies) {
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    const int type = atom->type[i];
    if (species_of_type_[type] < 0) continue;
    // Without neighbors, it is a free atom: avoid rounding errors.
    const bool is_free = settings_.relative_energy && !atoms_.offsets.empty() &&
                         atoms_.offsets[i] == atoms_.offsets[i + 1];
    const double energy = is_free ? 0.0 : energy_unit_ * atomic_energies[i] - energy_zero_[type];
    if (!std::isfinite(energy)) report_energy(i);
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom) eatom[i] += energy;
  }
}

// With r = r_j - r_i and g = dE/dr:  f_i += g,  f_j -= g,  virial = -r g.
//
// Half of the virial of a pair is assigned to each atom. The centroid virial is assigned only to
// the neighbor: (r_j - r_i) F_j, where F_j = -g is the force on j from the energy of i at r_i.
// Fan et al., Phys. Rev. B 92, 094301 (2015), eq. 22; Surblys et al., Phys. Rev. E 99, 051301
// (2019).
void PairEKD::tally_forces(const double* pair_gradients) {
  const int n_local = atom->nlocal;
  double** f = atom->f;
  // With newton on, LAMMPS returns forces on ghosts to their owners; with newton off, we do.
  const bool own_rows = force->newton_pair == 0;
  const int width = cvflag_atom ? kGhostRow : kCentroidColumn;
  if (own_rows) ghost_rows_.assign(static_cast<std::size_t>(n_local + atom->nghost) * width, 0.0);

  if (!own_rows && !vflag_either && !cvflag_atom) return add_forces(pair_gradients);
  const auto tally = [&](std::int64_t i, std::int64_t p) {
    const auto j = atoms_.neighbors[p];
    const double* r = &atoms_.pair_vectors[3 * p];
    const double g[3] = {energy_unit_ * pair_gradients[3 * p],
                         energy_unit_ * pair_gradients[3 * p + 1],
                         energy_unit_ * pair_gradients[3 * p + 2]};
    double* row_i = own_rows && i >= n_local ? &ghost_rows_[i * width] : nullptr;
    double* row_j = own_rows && j >= n_local ? &ghost_rows_[j * width] : nullptr;
    double* force_i = row_i ? row_i : f[i];
    double* force_j = row_j ? row_j : f[j];
    for (int d = 0; d < 3; ++d) {
      force_i[d] += g[d];
      force_j[d] -= g[d];
    }
    if (!vflag_either && !cvflag_atom) return;
    const double v[6] = {-r[0] * g[0],
                         -r[1] * g[1],
                         -r[2] * g[2],
                         -0.5 * (r[0] * g[1] + r[1] * g[0]),
                         -0.5 * (r[0] * g[2] + r[2] * g[0]),
                         -0.5 * (r[1] * g[2] + r[2] * g[1])};
    if (vflag_global)
      for (int c = 0; c < 6; ++c) virial[c] += v[c];
    if (vflag_atom) {
      double* virial_i = row_i ? row_i + kVirialColumn : vatom[i];
      double* virial_j = row_j ? row_j + kVirialColumn : vatom[j];
      for (int c = 0; c < 6; ++c) {
        virial_i[c] += 0.5 * v[c];
        virial_j[c] += 0.5 * v[c];
      }
    }
    if (cvflag_atom) {
      static constexpr int kFirst[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2};
      static constexpr int kSecond[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
      double* centroid_j = row_j ? row_j + kCentroidColumn : cvatom[j];
      for (int c = 0; c < 9; ++c) centroid_j[c] -= r[kFirst[c]] * g[kSecond[c]];
    }
  };
  const auto n_centers = static_cast<std::int64_t>(atoms_.offsets.size()) - 1;
  for (std::int64_t i = 0; i < n_centers; ++i)
    for (std::int64_t p = atoms_.offsets[i]; p < atoms_.offsets[i + 1]; ++p) tally(i, p);

  if (!own_rows) return;
  bring_home(width);
}

// Adds rows of ghosts to their owners.
void PairEKD::bring_home(int width) {
  add_from_ghosts({ghost_rows_.data(), width});
  for (int i = 0; i < atom->nlocal; ++i) {
    const double* row = &ghost_rows_[static_cast<std::size_t>(i) * width];
    for (int d = 0; d < 3; ++d) atom->f[i][d] += row[d];
    if (vflag_atom)
      for (int c = 0; c < 6; ++c) vatom[i][c] += row[kVirialColumn + c];
    if (cvflag_atom)
      for (int c = 0; c < 9; ++c) cvatom[i][c] += row[kCentroidColumn + c];
  }
}

// Like tally_forces if only forces are requested, as on most steps.
void PairEKD::add_forces(const double* pair_gradients) {
  if (atoms_.n_pairs == 0) return;
  double* const f = atom->f[0];
  const std::int64_t* const neighbors = atoms_.neighbors.data();
  for (std::size_t i = 0; i + 1 < atoms_.offsets.size(); ++i) {
    double sum[3] = {0.0, 0.0, 0.0};
    for (std::int64_t p = atoms_.offsets[i]; p < atoms_.offsets[i + 1]; ++p) {
      double* const force_j = f + 3 * neighbors[p];
      for (int d = 0; d < 3; ++d) {
        const double g = energy_unit_ * pair_gradients[3 * p + d];
        sum[d] += g;
        force_j[d] -= g;
      }
    }
    for (int d = 0; d < 3; ++d) f[3 * i + d] += sum[d];
  }
}

// Calls `step` and converts its errors to LAMMPS errors.
template <class Step>
void PairEKD::run_model(const Step& step) {
  try {
    step();
  } catch (const LAMMPSException&) {  // already reported
    throw;
  } catch (const std::exception& problem) {
    std::string place;
    // The device does not report the atoms.
    if (is_on_device() && dynamic_cast<const ekd::StructureError*>(&problem) != nullptr) {
      each_listed_pair([this](int i, int j) {
        if (const double r = distance_of(i, j); r < ekd::kOverlapDistance) report_overlap(i, j, r);
      });
      place = ekd::format("; at step {} {}", update->ntimestep, closest_contact());
    }
    ekd::end_rank(
        lmp, FLERR,
        ekd::format("pair_style ekd: the model cannot be evaluated: {}{}", problem.what(), place));
  }
}

void PairEKD::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (neighbor->ago == 0) check_pairs_are_complete();
  spread_is_current_ = spread_is_due();
  // If LAMMPS needs the energy, compute pair may need the uncertainty.
  uncertainty_is_current_ = has_uncertainty() && (uncertainty_flag_ || eflag_global);
  begin_watching();
  if (is_on_device()) {
    run_model([this] { compute_on_device(); });
    // There are no pairs on the host: lists are checked when they are new, and when LAMMPS needs
    // the energy.
    is_watching_ = is_watching_ && (neighbor->ago == 0 || eflag_global);
    if (is_watching_) watch_list();
  } else {
    run_model([this] { compute_from_pairs(); });
    if (is_watching_ && settings_.wide_ghosts) watch_list();
  }
  tell_of_memory();
  n_watched_ += static_cast<std::int64_t>(is_watching_);
  check_results();
  if (is_watching_ && (neighbor->ago == 0 || eflag_global)) tell_close_pairs();
}

// Warns once about every reduction of the block after memory has run out.
void PairEKD::tell_of_memory() {
  const std::int64_t block = model_->reduced_block();
  if (block == 0 || (told_block_ > 0 && block >= told_block_)) return;
  told_block_ = block;
  error->warning(
      FLERR,
      ekd::format(
          "pair_style ekd: memory has run out at step {}; MPI rank {} continues with {} atoms "
          "at a time: use 'pair_style ekd block {}' from the start, or "
          "more ranks",
          update->ntimestep, comm->me, block, block));
}

void PairEKD::compute_from_pairs() {
  std::function<void(const ekd::Evaluation&)> each_member;
  if (spread_is_current_)
    each_member = [this](const ekd::Evaluation& found) {
      spread_.add(atoms_, sum_of_energies(found.atomic_energies.data()),
                  found.pair_gradients.data());
    };
  gather_species();
  if (settings_.wide_ghosts)
    gather_pairs_of_ghosts_too();
  else
    gather_pairs();
  if (spread_is_current_)
    spread_.begin(atoms_.species.size(), static_cast<int>(model_->metadata().n_members));
  ekd::AtomGraph graph = atoms_.graph();
  graph.with_uncertainty = uncertainty_is_current_;
  graph.n_threads = comm->nthreads;
  result_ = {};  // free its memory for the evaluation
  ekd::NoExchange nothing;
  result_ = atoms_.complete ? model_->evaluate(graph, nothing, each_member)
                            : model_->evaluate(graph, *this, each_member);
  tally_energies(result_.atomic_energies.data());
  tally_forces(result_.pair_gradients.data());
  if (spread_is_current_) tally_spread();
  if (uncertainty_is_current_) tally_uncertainty(result_.uncertainty.data());
}
