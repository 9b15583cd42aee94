// Output of pair_style ekd for compute pair and fix pair in addition to the energy: the spread of a
// committee and the uncertainty.
#include <algorithm>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "pair_ekd.h"
#include "text.h"
#include "update.h"

using namespace LAMMPS_NS;

void* PairEKD::extract(const char* name, int& dimension) {
  dimension = 0;
  if (std::strcmp(name, "cutoff") == 0) return &cutoff_;
  if (std::strcmp(name, "forces_std_flag") == 0 && is_committee()) return &forces_std_flag_;
  if (std::strcmp(name, "uncertainty_flag") == 0 && has_uncertainty()) return &uncertainty_flag_;
  return nullptr;
}

// For fix pair, which requests the number of columns when it is defined, and the values at its
// steps.
void* PairEKD::extract_peratom(const char* name, int& columns) {
  columns = 0;
  const bool uncertainty = std::strcmp(name, "uncertainty") == 0;
  if (!uncertainty && std::strcmp(name, "forces_std") != 0) return nullptr;
  if (!model_)
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd: {} needs the model; put pair_coeff before fix pair [EKD-PAIR-017]",
            name));
  if (uncertainty && !has_uncertainty())
    error->all(FLERR,
               ekd::format(
                   "pair_style ekd: '{}' has no uncertainty; distill the student from labels of at "
                   "least two teachers, with this version of ekd [EKD-PAIR-018]",
                   path_));
  if (!uncertainty && !is_committee())
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd: '{}' holds one student, and forces_std is the spread of several; "
            "write a committee with 'ekd committee' [EKD-PAIR-019]",
            path_));
  const bool running = update->whichflag != 0;
  if (running && !(uncertainty ? uncertainty_is_current_ : spread_is_current_))
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd: {} was not evaluated at step {}; use fix pair with '{} 1', which "
            "asks for it at its own steps [EKD-PAIR-020]",
            name, update->ntimestep, name));
  return uncertainty ? uncertainty_.data() : forces_std_.data();
}

// ---- the spread of a committee ----------------------------------------------------------------

bool PairEKD::is_committee() const { return model_ && model_->metadata().n_members > 1; }

// At the steps given by the keyword, when requested by fix pair, and at the start, so that output
// always has values.
bool PairEKD::spread_is_due() const {
  if (!is_committee()) return false;
  if (forces_std_flag_) return true;
  if (settings_.committee_every == 0) return false;
  return !spread_exists_ || update->ntimestep % settings_.committee_every == 0;
}

double PairEKD::sum_of_energies(const double* atomic_energies) const {
  double sum = 0.0;
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0) sum += atomic_energies[i];
  return sum;
}

// Spread of the force on every atom; for compute pair, its maximum, its mean over the atoms of the
// model, and the spread of the energy.
void PairEKD::tally_spread() {
  // Forces on ghosts are added to their owners.
  if (shows_ghosts()) add_from_ghosts({spread_.forces().data(), spread_.width()});
  std::vector<double>& energies = spread_.energies();
  MPI_Allreduce(MPI_IN_PLACE, energies.data(), static_cast<int>(energies.size()), MPI_DOUBLE,
                MPI_SUM, world);

  forces_std_.assign(std::max(1, atom->nlocal), 0.0);  // never empty: its address is used
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0) forces_std_[i] = energy_unit_ * spread_.forces_std(i);
  const auto [largest, mean] = largest_and_mean(forces_std_);
  const double energy_std = energy_unit_ * spread_.energy_std();
  // compute pair sums the values of all ranks.
  const double share = comm->me == 0 ? 1.0 : 0.0;
  values_[0] = share * largest;
  values_[1] = share * mean;
  values_[2] = share * energy_std;
  spread_exists_ = true;
}

// Over all atoms of the model on all ranks.
std::array<double, 2> PairEKD::largest_and_mean(const std::vector<double>& of_atoms) const {
  double largest = 0.0;
  double sum_and_count[2] = {0.0, 0.0};
  for (int i = 0; i < atom->nlocal; ++i) {
    if (species_of_type_[atom->type[i]] < 0) continue;
    largest = std::max(largest, of_atoms[i]);
    sum_and_count[0] += of_atoms[i];
    sum_and_count[1] += 1.0;
  }
  MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_DOUBLE, MPI_MAX, world);
  MPI_Allreduce(MPI_IN_PLACE, sum_and_count, 2, MPI_DOUBLE, MPI_SUM, world);
  return {largest, sum_and_count[1] > 0.0 ? sum_and_count[0] / sum_and_count[1] : 0.0};
}

// ---- the uncertainty predicted by students ----------------------------------------------------

bool PairEKD::has_uncertainty() const { return model_ && model_->metadata().uncertainty; }

// Uncertainty of a force component on every atom; for compute pair, its maximum and mean, after the
// spread if there is one. It depends on features of owned atoms, so nothing is exchanged.
void PairEKD::tally_uncertainty(const double* uncertainty) {
  uncertainty_.assign(std::max(1, atom->nlocal), 0.0);  // never empty, as above
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0) uncertainty_[i] = energy_unit_ * uncertainty[i];
  const auto [largest, mean] = largest_and_mean(uncertainty_);
  const int first = is_committee() ? kSpreadValues : 0;
  const double share = comm->me == 0 ? 1.0 : 0.0;
  values_[first] = share * largest;
  values_[first + 1] = share * mean;
}
