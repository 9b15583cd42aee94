// A step of pair_style ekd on an accelerator: new lists and the positions of every step are copied
// to the device, and forces are copied back.
#include <algorithm>
#include <cmath>

#include "atom.h"
#include "comm.h"
#include "ekd/host_rows.hpp"
#include "error.h"
#include "force.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_ekd.h"

using namespace LAMMPS_NS;

namespace {
constexpr int kGroupAll = 1;  // bit of the group with all atoms
}

// With wide ghosts, pairs are not in LAMMPS's lists; they are passed as arrays of pairs instead.
bool PairEKD::is_on_device() const {
  return !settings_.wide_ghosts && !model_->on_device().empty();
}

void PairEKD::send_lists() {
  const bool has_owners = has_features();
  if (has_owners) find_owners();
  const int n_local = atom->nlocal;
  const int n_all = n_local + atom->nghost;
  std::vector<int> species(n_all), owners, counts(n_local, 0);
  std::vector<const int*> rows(n_local, nullptr);
  for (int i = 0; i < n_all; ++i) species[i] = static_cast<int>(species_of_type_[atom->type[i]]);
  if (has_owners) owners.assign(owners_.begin(), owners_.end());
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    if (i >= n_local) continue;
    // See gather_pairs.
    if (neighbor->exclude != 0 && (atom->mask[i] & kGroupAll) == 0) continue;
    counts[i] = list->numneigh[i];
    rows[i] = list->firstneigh[i];
  }
  ekd::HostRows sent;
  sent.n_atoms = n_all;
  sent.n_owned = n_local;
  sent.species = species.data();
  sent.owners = has_owners ? owners.data() : nullptr;
  sent.counts = counts.data();
  sent.rows = rows.data();
  on_device_->set_rows(sent);
}

void PairEKD::compute_on_device() {
  if (!on_device_) on_device_ = std::make_unique<ekd::HostRowsEvaluator>(*model_);
  if (neighbor->ago == 0 || !lists_are_there_) {
    lists_are_there_ = false;
    send_lists();
    lists_are_there_ = true;
  }
  const std::size_t n_all = atom->nlocal + atom->nghost;
  atoms_.n_owned = atom->nlocal;
  atoms_.offsets.clear();  // there are no pairs on the host
  std::function<void(const ekd::HostResults&)> each_member;
  if (spread_is_current_) {
    spread_.begin(n_all, static_cast<int>(model_->metadata().n_members));
    each_member = [this](const ekd::HostResults& found) {
      spread_.add(sum_of_energies(found.energies.data()), found.forces.data());
    };
  }
  ekd::HostRequest request;
  request.virial = vflag_global != 0;
  request.atomic_virials = vflag_atom != 0;
  request.centroid_virials = cvflag_atom != 0;
  request.uncertainty = uncertainty_is_current_;
  ekd::NoExchange nothing;
  const double* const x = n_all > 0 ? atom->x[0] : nullptr;
  ekd::GhostExchange& exchange = *this;
  const ekd::HostResults& found = shows_ghosts()
                                      ? on_device_->evaluate(x, request, exchange, each_member)
                                      : on_device_->evaluate(x, request, nothing, each_member);
  found_ = &found;
  tally_energies(found.energies.data());
  tally_results(found);
  if (spread_is_current_) tally_spread();
  if (uncertainty_is_current_) tally_uncertainty(found.uncertainty.data());
}

// Like tally_forces, for results of the device.
void PairEKD::tally_results(const ekd::HostResults& found) {
  const int n_local = atom->nlocal;
  const int n_all = n_local + atom->nghost;
  // With newton on, LAMMPS returns forces on ghosts to their owners; with newton off, we do.
  const bool own_rows = force->newton_pair == 0;
  const int n = own_rows ? n_local : n_all;
  for (int i = 0; i < n; ++i) {
    for (int d = 0; d < 3; ++d) atom->f[i][d] += energy_unit_ * found.forces[3 * i + d];
    if (vflag_atom)
      for (int c = 0; c < 6; ++c)
        vatom[i][c] += energy_unit_ * found.atomic_virials[6 * static_cast<std::size_t>(i) + c];
    if (cvflag_atom)
      for (int c = 0; c < 9; ++c)
        cvatom[i][c] += energy_unit_ * found.centroid_virials[9 * static_cast<std::size_t>(i) + c];
  }
  if (vflag_global)
    for (int c = 0; c < 6; ++c) virial[c] += energy_unit_ * found.virial[c];
  if (!own_rows) return;
  const int width = cvflag_atom ? kGhostRow : kCentroidColumn;
  ghost_rows_.assign(static_cast<std::size_t>(n_all) * width, 0.0);
  for (int i = n_local; i < n_all; ++i) {
    double* const row = &ghost_rows_[static_cast<std::size_t>(i) * width];
    for (int d = 0; d < 3; ++d) row[d] = energy_unit_ * found.forces[3 * i + d];
    if (vflag_atom)
      for (int c = 0; c < 6; ++c)
        row[kVirialColumn + c] =
            energy_unit_ * found.atomic_virials[6 * static_cast<std::size_t>(i) + c];
    if (cvflag_atom)
      for (int c = 0; c < 9; ++c)
        row[kCentroidColumn + c] =
            energy_unit_ * found.centroid_virials[9 * static_cast<std::size_t>(i) + c];
  }
  bring_home(width);
}
