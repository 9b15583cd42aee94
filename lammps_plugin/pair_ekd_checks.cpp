// Checks of pair_style ekd during a run: pairs that LAMMPS leaves out, forces that are too large or
// not finite, and atoms that are closer to each other than in the training data.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "atom.h"
#include "comm.h"
#include "ekd/close_pairs.hpp"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_ekd.h"
#include "rank_error.h"
#include "text.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;

namespace {
constexpr int kRun = 1;  // update->whichflag: dynamics, not a minimization
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}  // namespace

// ---- the pairs from LAMMPS -----------------------------------------------------------------

// Checks new lists for pairs that the model needs but LAMMPS has left out.
void PairEKD::check_pairs_are_complete() {
  // Fixes (fix gcmc) may have added exclusions after init_style.
  if (settings_.wide_ghosts && (neighbor->exclude != 0 || neighbor->includegroup != 0))
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd ghosts wide finds its own neighbors and cannot apply neigh_modify {}, "
            "which this input or one of its fixes uses; use ghosts staged [EKD-PAIR-013]",
            neighbor->exclude != 0 ? "exclude" : "include"));
  // With wide ghosts, the pairs come from our own list, which removes none.
  if (atom->molecular != Atom::ATOMIC && !settings_.wide_ghosts) check_special_pairs();
}

// LAMMPS removes pairs of bonded atoms if both their factors are zero, unless a kspace style needs
// these pairs. This is an error only if both atoms of such a pair belong to the model. Collective,
// so that one message reports the pair with the smallest tag, on any rank.
void PairEKD::check_special_pairs() {
  const int* const flag = neighbor->special_flag;
  if (flag[1] != 0 && flag[2] != 0 && flag[3] != 0) return;
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::int64_t first = kNone, partner = 0;  // tags; the partner is 0 for molecule templates
  for (int i = 0; i < atom->nlocal; ++i) {
    if (species_of_type_[atom->type[i]] < 0 || atom->tag[i] >= first) continue;
    if (atom->molecular == Atom::TEMPLATE) {
      if (atom->molindex[i] >= 0) first = atom->tag[i];
      continue;
    }
    const int* const ends = atom->nspecial[i];
    for (int n = 0; n < ends[2]; ++n) {
      const int kind = n < ends[0] ? 1 : n < ends[1] ? 2 : 3;
      if (flag[kind] != 0) continue;
      const int j = atom->map(atom->special[i][n]);
      if (j < 0 || species_of_type_[atom->type[j]] < 0) continue;
      first = atom->tag[i];
      partner = atom->tag[j];
      break;
    }
  }
  const std::int64_t own = first;
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT64_T, MPI_MIN, world);
  if (first == kNone) return;
  if (own != first) partner = 0;
  MPI_Allreduce(MPI_IN_PLACE, &partner, 1, MPI_INT64_T, MPI_MAX, world);

  std::array<double, 3> lj, coul;
  for (int k = 1; k <= 3; ++k) {
    lj[k - 1] = flag[k] == 0 ? 1e-30 : force->special_lj[k];
    coul[k - 1] = flag[k] == 0 ? 1e-30 : force->special_coul[k];
  }
  const auto words = [](const std::array<double, 3>& f) {
    return ekd::format("{:.6g} {:.6g} {:.6g}", f[0], f[1], f[2]);
  };
  const std::string advice = lj == coul ? "special_bonds lj/coul " + words(lj)
                                        : "special_bonds lj " + words(lj) + " coul " + words(coul);
  const std::string atoms =
      partner == 0 ? std::string() : ekd::format(", such as {} and {}", first, partner);
  error->all(
      FLERR,
      ekd::format("pair_style ekd needs all neighbors, but special_bonds removes pairs of bonded "
                  "atoms{}; use '{}', which keeps them in the list and changes no energy of other "
                  "styles [EKD-PAIR-014]",
                  atoms, advice));
}

// ---- forces and contacts ---------------------------------------------------------------------

// "12 (O)"
std::string PairEKD::name_of(int i) const {
  return ekd::format("{} ({})", atom->tag[i], names_[atom->type[i] - 1]);
}

bool PairEKD::has_position(int i) const {
  return std::isfinite(atom->x[i][0] + atom->x[i][1] + atom->x[i][2]);
}

double PairEKD::distance_of(int i, int j) const {
  double squared = 0.0;
  for (int d = 0; d < 3; ++d) squared += std::pow(atom->x[j][d] - atom->x[i][d], 2);
  return std::sqrt(squared);
}

// Calls act for every pair of LAMMPS's list with atoms of the model. Slow; only for messages.
void PairEKD::each_listed_pair(const std::function<void(int, int)>& act) {
  if (settings_.wide_ghosts) {
    each_pair_of_wide_ghosts([&act](int i, int j, double) { act(i, j); });
    return;
  }
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    if (species_of_type_[atom->type[i]] < 0) continue;
    for (int jj = 0; jj < list->numneigh[i]; ++jj) {
      const int j = list->firstneigh[i][jj] & NEIGHMASK;
      if (species_of_type_[atom->type[j]] >= 0) act(i, j);
    }
  }
}

// Calls act(i, j, squared distance) for all pairs of owned atoms i. LAMMPS's list may exist only
// for KOKKOS.
template <class Act>
void PairEKD::each_pair_of_wide_ghosts(const Act& act) {
  const auto n_known = static_cast<int>(atoms_.offsets.size()) - 1;
  for (int i = 0; i < std::min(atom->nlocal, n_known); ++i) {
    if (species_of_type_[atom->type[i]] < 0) continue;
    for (std::int64_t p = atoms_.offsets[i]; p < atoms_.offsets[i + 1]; ++p) {
      const auto j = static_cast<int>(atoms_.neighbors[p]);
      const double* const r = &atoms_.pair_vectors[3 * p];
      if (species_of_type_[atom->type[j]] >= 0) act(i, j, r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    }
  }
}

// Whether this may be a trial configuration that is not part of the run. Fixes with trial moves
// (gcmc, widom, atom/swap, ...) evaluate them in steps for which they, and no others, have
// scheduled reneighboring.
bool PairEKD::is_trial() const {
  for (int k = 0; k < modify->nfix; ++k) {
    const Fix* const fix = modify->fix[k];
    if (fix->force_reneighbor && fix->next_reneighbor == update->ntimestep) return true;
  }
  return false;
}

// ---- forces ---------------------------------------------------------------------------------

// Forces of a trial are not used. A minimization may start from any forces, and reduces them.
double PairEKD::largest_sound_force() const {
  const bool is_limited = settings_.force_max > 0.0 && update->whichflag == kRun && !is_trial();
  return is_limited ? energy_unit_ * settings_.force_max : DBL_MAX;
}

// The virial is finite if the forces are, because both are sums of the same terms.
void PairEKD::check_results() {
  const double limit = largest_sound_force();
  if (has_unsound_forces(limit)) report_forces(limit);
}

// Checks forces of all styles that have been summed so far.
bool PairEKD::has_unsound_forces(double limit) {
  const int n_all = atom->nlocal + atom->nghost;
  if (n_all == 0) return false;
  const int n = force->newton_pair ? n_all : atom->nlocal;
  const double most = std::min(limit * limit, DBL_MAX);
  const double* const f = atom->f[0];
  const double* const x = atom->x[0];
  int n_unsound = 0;
  // The condition treats NaN as unsound.
  for (int i = 0; i < n; ++i)
    n_unsound += static_cast<int>(
        !(f[3 * i] * f[3 * i] + f[3 * i + 1] * f[3 * i + 1] + f[3 * i + 2] * f[3 * i + 2] <= most));
  for (int i = 0; i < atom->nlocal; ++i)
    n_unsound += static_cast<int>(!(std::abs(x[3 * i] + x[3 * i + 1] + x[3 * i + 2]) <= DBL_MAX));
  return n_unsound > 0;
}

// The forces of this style only, [n_all, 3] in units of the run.
std::vector<double> PairEKD::own_forces() {
  std::vector<double> own(3 * static_cast<std::size_t>(atom->nlocal + atom->nghost), 0.0);
  if (is_on_device()) {
    for (std::size_t k = 0; k < own.size(); ++k) own[k] = energy_unit_ * found_->forces[k];
    return own;
  }
  for (std::size_t i = 0; i + 1 < atoms_.offsets.size(); ++i)
    for (std::int64_t p = atoms_.offsets[i]; p < atoms_.offsets[i + 1]; ++p)
      for (int d = 0; d < 3; ++d) {
        const double g = energy_unit_ * result_.pair_gradients[3 * p + d];
        own[3 * i + d] += g;
        own[3 * atoms_.neighbors[p] + d] -= g;
      }
  return own;
}

// Ends the run if the unsound forces come from this style.
void PairEKD::report_forces(double limit) {
  const int n_all = atom->nlocal + atom->nghost;
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0 && !has_position(i))
      ekd::end_rank(lmp, FLERR,
                    ekd::format("pair_style ekd: the position of atom {} is not finite at step "
                                "{}; look for what moves it: a fix, or velocities [EKD-PAIR-027]",
                                name_of(i), update->ntimestep));
  std::vector<double> own = own_forces();
  // Forces on images are added to their atom; for atoms of other ranks, only local data are used.
  if (atom->tag_enable) {
    std::unordered_map<tagint, int> first;
    for (int i = 0; i < n_all; ++i) {
      const int known = first.emplace(atom->tag[i], i).first->second;
      if (known == i) continue;
      for (int d = 0; d < 3; ++d) {
        own[3 * known + d] += own[3 * i + d];
        own[3 * i + d] = 0.0;
      }
    }
  }
  int worst = -1;
  double largest = limit;
  for (int i = 0; i < n_all; ++i) {
    const double* const f = &own[3 * static_cast<std::size_t>(i)];
    double size = std::sqrt(f[0] * f[0] + f[1] * f[1] + f[2] * f[2]);
    if (!std::isfinite(size)) size = kInfinity;
    if (size <= largest) continue;
    worst = i;
    largest = size;
  }
  if (worst < 0) return;  // forces of another style
  if (std::isinf(largest))
    ekd::end_rank(
        lmp, FLERR,
        ekd::format("pair_style ekd: the force on atom {} is not finite at step {}; {}. "
                    "Atoms have come too close or moved too far: minimize first, or use a smaller "
                    "timestep [EKD-PAIR-028]",
                    name_of(worst), update->ntimestep, closest_contact(worst)));
  ekd::end_rank(
      lmp, FLERR,
      ekd::format("pair_style ekd: the force on atom {} is {:.4g} eV/Angstrom at step {}, above "
                  "force_max {:.6g}; {}. The simulation has blown up: minimize first, or use a "
                  "smaller timestep, or raise force_max if such forces are meant [EKD-PAIR-028]",
                  name_of(worst), largest / energy_unit_, update->ntimestep, settings_.force_max,
                  closest_contact(worst)));
}

// "its closest contact is atom 12 (O) at 0.3 Angstrom"
std::string PairEKD::closest_contact(int atom_index) {
  const auto is_it = [&](int i) {
    return i == atom_index || (atom->tag_enable && atom->tag[i] == atom->tag[atom_index]);
  };
  int partner = -1;
  double closest = kInfinity;
  each_listed_pair([&](int i, int j) {
    if (!is_it(i) && !is_it(j)) return;
    const double distance = distance_of(i, j);
    if (!(distance < closest)) return;
    closest = distance;
    partner = is_it(i) ? j : i;
  });
  if (partner < 0) return "it has no neighbor on its rank";
  return ekd::format("its closest contact is atom {} at {:.4g} Angstrom", name_of(partner),
                     closest);
}

// For all atoms, because a device does not report the atom.
std::string PairEKD::closest_contact() {
  int first = -1, second = -1;
  double closest = kInfinity;
  each_listed_pair([&](int i, int j) {
    const double distance = distance_of(i, j);
    if (!(distance < closest)) return;
    closest = distance;
    first = i;
    second = j;
  });
  if (first < 0) return "there are no neighbors on this rank";
  return ekd::format("the closest atoms of this rank are {} and {} at {:.4g} Angstrom",
                     name_of(first), name_of(second), closest);
}

void PairEKD::report_energy(int i) {
  ekd::end_rank(
      lmp, FLERR,
      ekd::format("pair_style ekd: the energy of atom {} is not finite at step {}; {}. Atoms have "
                  "come too close or moved too far: minimize first, or use a smaller timestep "
                  "[EKD-PAIR-022]",
                  name_of(i), update->ntimestep, closest_contact(i)));
}

// ---- distances ------------------------------------------------------------------------------

// Reports pairs of elements that are not in the training data, once per model.
void PairEKD::tell_unseen_pairs() {
  if (told_unseen_pairs_ || !close_.is_on()) return;
  told_unseen_pairs_ = true;
  const ekd::ModelMetadata& metadata = model_->metadata();
  std::vector<bool> is_mapped(close_.n_species(), false);
  for (const std::int64_t species : species_of_type_)
    if (species >= 0) is_mapped[species] = true;
  std::string pairs;
  for (std::int64_t i = 0; i < close_.n_species(); ++i)
    for (std::int64_t j = i; j < close_.n_species(); ++j)
      if (is_mapped[i] && is_mapped[j] && std::isinf(metadata.training_distances[close_.row(i, j)]))
        pairs += (pairs.empty() ? "" : ", ") + metadata.elements[i] + "-" + metadata.elements[j];
  if (!pairs.empty() && comm->me == 0)
    error->warning(FLERR,
                   ekd::format("pair_style ekd: the training data of '{}' have no pair {} within "
                               "the cutoff of {} Angstrom: what the model says of such pairs is "
                               "extrapolated",
                               path_, pairs, metadata.cutoff));
}

// Decides whether pairs are checked in this evaluation, and sets the elements that are present.
void PairEKD::begin_watching() {
  is_watching_ = close_.is_on() && !is_trial();
  if (!is_watching_) return;
  if (neighbor->ago == 0 || !present_is_known_) {
    present_is_known_ = true;
    std::vector<bool> present(close_.n_species(), false);
    for (int i = 0; i < atom->nlocal + atom->nghost; ++i)
      if (const std::int64_t species = species_of_type_[atom->type[i]]; species >= 0)
        present[species] = true;
    close_.set_present(present);
  } else {
    close_.update_reach();
  }
}

// Checks a pair of an owned atom i and any j within the reach of i.
void PairEKD::watch(int i, int j, double squared) {
  const std::int64_t a = species_of_type_[atom->type[i]];
  const std::int64_t b = species_of_type_[atom->type[j]];
  if (!close_.add(close_.row(a, b), squared)) return;
  FirstClose& first = first_close_[close_.row(std::min(a, b), std::max(a, b))];
  if (first.step >= 0) return;
  first = {update->ntimestep, {atom->tag[i], atom->tag[j]}, std::sqrt(squared)};
}

// Checks all pairs after the evaluation: those of LAMMPS's list on a device, or of wide ghosts.
void PairEKD::watch_list() {
  if (settings_.wide_ghosts) {
    each_pair_of_wide_ghosts([this](int i, int j, double squared) {
      if (squared < close_.reach_squared(species_of_type_[atom->type[i]])) watch(i, j, squared);
    });
    return;
  }
  if (list->inum == 0) return;
  const double* const x = atom->x[0];
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    const std::int64_t species = species_of_type_[atom->type[i]];
    if (species < 0) continue;
    const double reach = close_.reach_squared(species);
    const double xi = x[3 * i], yi = x[3 * i + 1], zi = x[3 * i + 2];
    const int* const neighbors = list->firstneigh[i];
    for (int jj = 0; jj < list->numneigh[i]; ++jj) {
      const int j = neighbors[jj] & NEIGHMASK;
      const double* const xj = x + 3 * static_cast<std::size_t>(j);
      const double rx = xj[0] - xi, ry = xj[1] - yi, rz = xj[2] - zi;
      const double squared = rx * rx + ry * ry + rz * rz;
      if (squared < reach && species_of_type_[atom->type[j]] >= 0) watch(i, j, squared);
    }
  }
}

// Warns once per pair of elements when it is first too close. Collective.
void PairEKD::tell_close_pairs() {
  int is_new = 0;
  for (std::size_t row = 0; row < first_close_.size(); ++row)
    if (first_close_[row].step >= 0 && !told_close_[row]) is_new = 1;
  MPI_Allreduce(MPI_IN_PLACE, &is_new, 1, MPI_INT, MPI_MAX, world);
  if (is_new == 0) return;
  const ekd::ModelMetadata& metadata = model_->metadata();
  struct StepAndRank {
    double step;
    int rank;
  };
  std::vector<StepAndRank> earliest(first_close_.size());
  for (std::size_t row = 0; row < earliest.size(); ++row) {
    const FirstClose& first = first_close_[row];
    earliest[row] = {first.step < 0 ? kInfinity : static_cast<double>(first.step), comm->me};
  }
  MPI_Allreduce(MPI_IN_PLACE, earliest.data(), static_cast<int>(earliest.size()), MPI_DOUBLE_INT,
                MPI_MINLOC, world);
  for (std::size_t row = 0; row < earliest.size(); ++row) {
    if (std::isinf(earliest[row].step) || told_close_[row]) continue;
    told_close_[row] = true;
    FirstClose& first = first_close_[row];
    MPI_Bcast(&first, sizeof first, MPI_BYTE, earliest[row].rank, world);
    if (comm->me != 0) continue;
    const std::string& a = metadata.elements[row / close_.n_species()];
    const std::string& b = metadata.elements[row % close_.n_species()];
    const double known = metadata.training_distances[row];
    const std::string there =
        std::isinf(known)
            ? ekd::format("have no pair {}-{} within the cutoff", a, b)
            : ekd::format("have no pair {}-{} closer than {:.4g} Angstrom", a, b, known);
    error->warning(FLERR,
                   ekd::format("pair_style ekd: atoms {} and {} are {:.4g} Angstrom apart at step "
                               "{}, and the training data {}: what the model says of them is "
                               "extrapolated",
                               first.tags[0], first.tags[1], first.distance, first.step, there));
  }
}

// LAMMPS calls this at the end of every run and minimization.
void PairEKD::finish() {
  if (!close_.is_on()) return;
  tell_close_pairs();
  const auto n = static_cast<int>(close_.n_species());
  std::vector<double> closest = close_.closest();
  std::vector<std::int64_t> counts = close_.counts();
  std::vector<int> present(n, 0);
  for (int i = 0; i < atom->nlocal; ++i)
    if (const std::int64_t species = species_of_type_[atom->type[i]]; species >= 0)
      present[species] = 1;
  MPI_Allreduce(MPI_IN_PLACE, closest.data(), n * n, MPI_DOUBLE, MPI_MIN, world);
  MPI_Allreduce(MPI_IN_PLACE, counts.data(), n * n, MPI_INT64_T, MPI_SUM, world);
  MPI_Allreduce(MPI_IN_PLACE, present.data(), n, MPI_INT, MPI_MAX, world);
  const std::int64_t n_watched = n_watched_;
  const std::vector<double> horizons = close_.horizons();
  close_.clear();
  n_watched_ = 0;
  if (comm->me != 0 || n_watched == 0) return;

  const ekd::ModelMetadata& metadata = model_->metadata();
  if (std::all_of(counts.begin(), counts.end(), [](std::int64_t count) { return count == 0; })) {
    utils::logmesg(lmp, ekd::format("pair_style ekd: no pair of atoms was closer than in the "
                                    "training data in {} force evaluation(s)\n",
                                    n_watched));
    return;
  }
  std::string table = ekd::format(
      "pair_style ekd: pairs of atoms that were closer than in the training data, in {} force "
      "evaluation(s); distances in Angstrom\n  pair     training    closest  evaluations x pairs\n",
      n_watched);
  for (int i = 0; i < n; ++i) {
    for (int j = i; j < n; ++j) {
      if (!present[i] || !present[j]) continue;
      const auto row = close_.row(i, j), other = close_.row(j, i);
      // Pairs are counted for both atoms.
      const std::int64_t count = (i == j ? counts[row] : counts[row] + counts[other]) / 2;
      const double found = std::min(closest[row], closest[other]);
      const double known = metadata.training_distances[row];
      std::string pair = metadata.elements[i] + "-" + metadata.elements[j];
      pair.resize(std::max<std::size_t>(pair.size(), 5), ' ');
      table += "  " + pair;
      table += std::isinf(known) ? "        none" : ekd::format("{:12.4f}", known);
      table += found < horizons[row] ? ekd::format("{:11.4f}", std::sqrt(found))
                                     : ekd::format("  >{:8.4f}", std::sqrt(horizons[row]));
      table += ekd::format("{:21.0f}\n", static_cast<double>(count));
    }
  }
  utils::logmesg(lmp, table);
}
