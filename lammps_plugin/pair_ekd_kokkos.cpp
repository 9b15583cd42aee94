#include "pair_ekd_kokkos.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <type_traits>

#include "atom_kokkos.h"
#include "atom_masks.h"
#include "comm.h"
#include "ekd/error.hpp"
#include "force.h"
#include "neigh_list_kokkos.h"
#include "neigh_request.h"
#include "neighbor.h"
#include "register.h"
#include "temporary_value.h"

using namespace LAMMPS_NS;
namespace kk = ekd::kokkos;

namespace {

constexpr int kGroupAll = 1;  // bit of the group with all atoms

}  // namespace

template <class DeviceType>
PairEKDKokkos<DeviceType>::PairEKDKokkos(LAMMPS* lmp) : PairEKD(lmp) {
  respa_enable = 0;
  kokkosable = 1;
  reverse_comm_device = 1;
  atomKK = static_cast<AtomKokkos*>(atom);
  execution_space = ExecutionSpaceFromDevice<DeviceType>::space;
  // compute() declares itself what it reads and writes, which depends on the step.
  datamask_read = EMPTY_MASK;
  datamask_modify = EMPTY_MASK;
}

// The device of KOKKOS. On the host, the device kernels are run by the CPU, so positions need not
// be copied.
template <class DeviceType>
std::string PairEKDKokkos<DeviceType>::device_of(const Settings&) const {
  if constexpr (kk::kIsHost<DeviceType>) return "emulated";
#ifdef KOKKOS_ENABLE_CUDA
  if constexpr (std::is_same_v<DeviceType, Kokkos::Cuda>)
    return "cuda:" + std::to_string(Kokkos::device_id());
#endif
  throw ekd::Error(
      "ekd/kk runs on the CUDA and host backends of KOKKOS, and this LAMMPS has another; use "
      "'suffix off' before pair_style ekd, or pair_style ekd/kk/host [EKD-PAIR-023]");
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::init_style() {
  PairEKD::init_style();
  NeighRequest* const request = neighbor->find_request(this);
  constexpr bool is_default = std::is_same_v<DeviceType, LMPDeviceType>;
  request->set_kokkos_host(std::is_same_v<DeviceType, LMPHostType> && !is_default);
  request->set_kokkos_device(is_default);
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::finish() {
  atomKK->sync(Host, TYPE_MASK);
  PairEKD::finish();
}

template <class DeviceType>
double PairEKDKokkos<DeviceType>::memory_usage() {
  const double there = positions_.bytes() + species_.bytes() + counts_.bytes() +
                       owners_there_.bytes() + names_there_.bytes() + energies_.bytes() +
                       forces_.bytes() + atomic_virials_.bytes() + centroid_virials_.bytes() +
                       uncertainty_there_.bytes() + member_energies_.bytes() +
                       member_forces_.bytes();
  return PairEKD::memory_usage() + there + static_cast<double>(host_rows_.capacity());
}

// ---- a step ---------------------------------------------------------------------------------

template <class DeviceType>
void PairEKDKokkos<DeviceType>::compute(int eflag, int vflag) {
  if (neighbor->ago == 0 || !present_is_known_) atomKK->sync(Host, TYPE_MASK);
  if (neighbor->ago == 0 && atom->molecular != Atom::ATOMIC)
    atomKK->sync(Host, TAG_MASK | SPECIAL_MASK);
  if (is_on_device()) {
    PairEKD::compute(eflag, vflag);
    return;
  }
  // With wide ghosts, pairs are not in LAMMPS's lists; they are found on the host.
  auto& atoms = static_cast<NeighListKokkos<DeviceType>*>(list)->k_ilist;
  atoms.sync_host();
  const ekd::TemporaryValue ilist(list->ilist, atoms.view_host().data());
  atomKK->sync(Host, X_MASK | F_MASK | TYPE_MASK | TAG_MASK | MASK_MASK);
  PairEKD::compute(eflag, vflag);
  atomKK->modified(Host, F_MASK);
  atomKK->sync(execution_space, F_MASK);
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::compute_on_device() {
  atomKK->sync(execution_space, X_MASK | F_MASK | TYPE_MASK | MASK_MASK);
  const bool reads_types = spread_is_current_ || uncertainty_is_current_;
  if (reads_types) atomKK->sync(Host, TYPE_MASK);
  const ekd::DeviceAtoms atoms = gather_atoms();
  const auto n_all = static_cast<std::size_t>(atoms.n_atoms);
  const auto n_owned = static_cast<std::size_t>(atoms.n_owned);
  const auto n_members = static_cast<int>(model_->metadata().n_members);
  if (spread_is_current_) spread_.begin(n_all, n_members);

  ekd::DeviceResults results;
  results.scale = energy_unit_ / n_members;
  results.energies = energies_.reserve_cleared(n_owned);
  // With newton on, LAMMPS returns forces on ghosts to their owners; with newton off, we do, and
  // they must not be in the force array of LAMMPS.
  const auto f = atomKK->k_f.template view<DeviceType>();
  double* forces = nullptr;
  if constexpr (std::is_same_v<typename decltype(f)::non_const_value_type, double>)
    if (force->newton_pair != 0 && kk::is_plain(f, 3)) results.forces = f.data();
  if (results.forces == nullptr) forces = results.forces = forces_.reserve_cleared(3 * n_all);
  if (vflag_global) results.virial = virial_.reserve_cleared(6);
  if (vflag_atom) results.atomic_virials = atomic_virials_.reserve_cleared(6 * n_all);
  if (cvflag_atom) results.centroid_virials = centroid_virials_.reserve_cleared(9 * n_all);
  if (uncertainty_is_current_) results.uncertainty = uncertainty_there_.reserve_cleared(n_owned);
  evaluate(atoms, results);

  tally_energies_on_device(results.energies);
  if (forces != nullptr) tally_forces_on_device(forces);
  atomKK->modified(execution_space, F_MASK);
  if (vflag_global) tally_virial(results.virial);
  if (vflag_atom) tally_atomic_virials(results.atomic_virials, 6, vatom);
  if (cvflag_atom) tally_atomic_virials(results.centroid_virials, 9, cvatom);
  if (spread_is_current_) tally_spread();
  if (uncertainty_is_current_) {
    host_energies_.resize(n_owned);
    kk::to_host<DeviceType>(host_energies_.data(), results.uncertainty, n_owned * sizeof(double));
    for (double& value : host_energies_) value /= energy_unit_;
    tally_uncertainty(host_energies_.data());
  }
}

// Evaluates all members, separately if the spread is requested.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::evaluate(const ekd::DeviceAtoms& atoms,
                                         ekd::DeviceResults results) {
  Exchange exchange(*this);
  double* const all_energies = results.energies;
  double* const all_forces = results.forces;
  const std::size_t n_forces = 3 * static_cast<std::size_t>(atoms.n_atoms);
  for (ekd::DeviceRows* const member : model_->on_device()) {
    if (spread_is_current_) {
      results.energies = member_energies_.reserve_cleared(atoms.n_owned);
      results.forces = member_forces_.reserve_cleared(n_forces);
    }
    Kokkos::fence("ekd: atoms and neighbors");  // the model uses its own stream
    member->evaluate_rows(atoms, exchange, results);
    if (spread_is_current_) {
      tell_spread(1.0 / results.scale);
      kk::add<DeviceType>(atoms.n_owned, results.energies, all_energies);
      kk::add<DeviceType>(static_cast<std::int64_t>(n_forces), results.forces, all_forces);
    }
  }
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::tell_spread(double scale) {
  host_energies_.resize(atom->nlocal);
  host_forces_.resize(3 * static_cast<std::size_t>(atom->nlocal + atom->nghost));
  kk::to_host<DeviceType>(host_energies_.data(), member_energies_.data(),
                          host_energies_.size() * sizeof(double));
  kk::to_host<DeviceType>(host_forces_.data(), member_forces_.data(),
                          host_forces_.size() * sizeof(double));
  for (double& energy : host_energies_) energy *= scale;
  for (double& component : host_forces_) component *= scale;
  spread_.add(sum_of_energies(host_energies_.data()), host_forces_.data());
}

// ---- input of the model ----------------------------------------------------------------------

template <class DeviceType>
void PairEKDKokkos<DeviceType>::set_type_tables() {
  const std::vector<int> species(species_of_type_.begin(), species_of_type_.end());
  if (species == host_species_of_type_ && energy_zero_ == host_zero_of_type_) return;
  host_species_of_type_ = species;
  host_zero_of_type_ = energy_zero_;
  kk::from_host<DeviceType>(species_of_type_there_.reserve(species.size()), species.data(),
                            species.size() * sizeof(int));
  kk::from_host<DeviceType>(zero_of_type_.reserve(energy_zero_.size()), energy_zero_.data(),
                            energy_zero_.size() * sizeof(double));
}

template <class DeviceType>
ekd::DeviceAtoms PairEKDKokkos<DeviceType>::gather_atoms() {
  set_type_tables();
  const int n_local = atom->nlocal;
  const int n_all = n_local + atom->nghost;
  ekd::DeviceAtoms atoms;
  atoms.n_atoms = n_all;
  atoms.n_owned = atoms.n_centers = n_local;

  const auto x = atomKK->k_x.template view<DeviceType>();
  if constexpr (std::is_same_v<typename decltype(x)::non_const_value_type, double>)
    if (kk::is_plain(x, 3)) atoms.positions = x.data();
  if (atoms.positions == nullptr) {
    double* const positions = positions_.reserve(3 * static_cast<std::size_t>(n_all));
    kk::copy_positions<DeviceType>(n_all, x, positions);
    atoms.positions = positions;
  }
  const int* const types = atomKK->k_type.template view<DeviceType>().data();
  // In every step, because some fixes change types between two lists.
  int* const species = species_.reserve(n_all);
  kk::set_species<DeviceType>(n_all, types, species_of_type_there_.data(), species);
  atoms.species = species;

  const auto& rows = *static_cast<const NeighListKokkos<DeviceType>*>(list);
  // Fixes with trial deletions (fix gcmc) remove the atoms from group all; see gather_pairs.
  const int* const mask =
      neighbor->exclude != 0 ? atomKK->k_mask.template view<DeviceType>().data() : nullptr;
  int* const counts = counts_.reserve_cleared(n_local);
  kk::set_counts<DeviceType>(list->inum, rows.d_ilist.data(), rows.d_numneigh.data(), mask,
                             kGroupAll, counts);
  atoms.counts = counts;
  atoms.most_neighbors = kk::largest<DeviceType>(n_local, counts);
  atoms.neighbors = rows.d_neighbors.data();
  atoms.row_stride = static_cast<long long>(rows.d_neighbors.stride(0));
  atoms.column_stride = static_cast<long long>(rows.d_neighbors.stride(1));
  if (has_features()) {
    find_owners_on_device();
    atoms.owners = owners_there_.data();
  }
  return atoms;
}

// Like find_owners.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::find_owners_on_device() {
  if (neighbor->ago != 0 && owners_known_) return;
  owners_known_ = true;
  const int n_all = atom->nlocal + atom->nghost;
  double* const names = names_there_.reserve(2 * static_cast<std::size_t>(n_all));
  kk::name_owned<DeviceType>(atom->nlocal, comm->me, names);
  exchange(Direction::kToGhosts, names, 2, false);
  kk::set_owners<DeviceType>(n_all, comm->me, names, owners_there_.reserve(n_all));
}

// On the host, after copying positions, types and tags.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::each_listed_pair(const std::function<void(int, int)>& act) {
  atomKK->sync(Host, X_MASK | TYPE_MASK | TAG_MASK);
  if (!is_on_device()) {  // the list is a copy on the host
    PairEKD::each_listed_pair(act);
    return;
  }
  const auto& rows = *static_cast<const NeighListKokkos<DeviceType>*>(list);
  const auto neighbors = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), rows.d_neighbors);
  std::vector<int> counts(atom->nlocal);
  kk::to_host<DeviceType>(counts.data(), counts_.data(), counts.size() * sizeof(int));
  for (int i = 0; i < atom->nlocal; ++i) {
    if (species_of_type_[atom->type[i]] < 0) continue;
    for (int k = 0; k < counts[i]; ++k) {
      const int j = neighbors(i, k) & NEIGHMASK;
      if (species_of_type_[atom->type[j]] >= 0) act(i, j);
    }
  }
}

// Counts where the list is stored. The atoms are searched on the host when a pair of elements is
// too close for the first time.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::watch_list() {
  if (!is_on_device()) {
    PairEKD::watch_list();
    return;
  }
  const auto n_species = static_cast<int>(close_.n_species());
  const auto n_rows = static_cast<std::size_t>(n_species) * n_species;
  std::vector<double> reach(n_species);
  for (int i = 0; i < n_species; ++i) reach[i] = close_.reach_squared(i);
  kk::from_host<DeviceType>(reach_there_.reserve(n_species), reach.data(),
                            n_species * sizeof(double));
  kk::from_host<DeviceType>(limits_there_.reserve(n_rows), close_.limits().data(),
                            n_rows * sizeof(double));
  kk::from_host<DeviceType>(closest_there_.reserve(n_rows), close_.closest().data(),
                            n_rows * sizeof(double));
  int* const counts_there = close_counts_there_.reserve_cleared(n_rows);
  const auto& rows = *static_cast<const NeighListKokkos<DeviceType>*>(list);
  kk::count_close<DeviceType>(atom->nlocal, counts_.data(), rows.d_neighbors,
                              atomKK->k_x.template view<DeviceType>(), species_.data(), n_species,
                              reach_there_.data(), limits_there_.data(), closest_there_.data(),
                              counts_there);
  kk::to_host<DeviceType>(close_.closest().data(), closest_there_.data(), n_rows * sizeof(double));
  std::vector<int> counts(n_rows);
  kk::to_host<DeviceType>(counts.data(), counts_there, n_rows * sizeof(int));
  bool is_new = false;
  for (int a = 0; a < n_species; ++a) {
    for (int b = 0; b < n_species; ++b) {
      const auto row = close_.row(a, b);
      const auto first = close_.row(std::min(a, b), std::max(a, b));
      is_new = is_new || (counts[row] > 0 && first_close_[first].step < 0);
      close_.counts()[row] += counts[row];
    }
  }
  if (!is_new) return;
  const std::vector<std::int64_t> counted = close_.counts();
  each_listed_pair([this](int i, int j) {
    double squared = 0.0;
    for (int d = 0; d < 3; ++d) squared += std::pow(atom->x[j][d] - atom->x[i][d], 2);
    watch(i, j, squared);
  });
  close_.counts() = counted;
}

// ---- output to LAMMPS ------------------------------------------------------------------------

template <class DeviceType>
void PairEKDKokkos<DeviceType>::tally_energies_on_device(const double* energies) {
  const int n_local = atom->nlocal;
  const int* const types = atomKK->k_type.template view<DeviceType>().data();
  const int* const atoms = static_cast<const NeighListKokkos<DeviceType>*>(list)->d_ilist.data();
  double* const of_atoms = eflag_atom ? atomic_energies_.reserve_cleared(n_local) : nullptr;
  const kk::EnergyFound found = kk::count_energies<DeviceType>(
      list->inum, atoms, types, species_.data(), counts_.data(), zero_of_type_.data(),
      settings_.relative_energy, energies, of_atoms);
  if (found.not_finite >= 0) {
    atomKK->sync(Host, TAG_MASK | TYPE_MASK);
    report_energy(found.not_finite);
  }
  if (eflag_global) eng_vdwl += found.sum;
  if (of_atoms == nullptr) return;
  host_energies_.resize(n_local);
  kk::to_host<DeviceType>(host_energies_.data(), of_atoms, n_local * sizeof(double));
  for (int i = 0; i < n_local; ++i) eatom[i] += host_energies_[i];
}

template <class DeviceType>
bool PairEKDKokkos<DeviceType>::has_unsound_forces(double limit) {
  const int n = atom->nlocal + (force->newton_pair ? atom->nghost : 0);
  return kk::count_unsound<DeviceType>(n, atomKK->k_f.template view<DeviceType>(), limit) +
             kk::count_unsound<DeviceType>(atom->nlocal, atomKK->k_x.template view<DeviceType>(),
                                           DBL_MAX) >
         0;
}

// Forces of all styles, which are summed in one array here.
template <class DeviceType>
std::vector<double> PairEKDKokkos<DeviceType>::own_forces() {
  atomKK->sync(Host, X_MASK | F_MASK | TYPE_MASK | TAG_MASK);
  const int n = atom->nlocal + (force->newton_pair ? atom->nghost : 0);
  std::vector<double> forces(3 * static_cast<std::size_t>(atom->nlocal + atom->nghost), 0.0);
  for (int i = 0; i < n; ++i)
    for (int d = 0; d < 3; ++d) forces[3 * static_cast<std::size_t>(i) + d] = atom->f[i][d];
  return forces;
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::tally_forces_on_device(double* forces) {
  const bool bring_home = force->newton_pair == 0;
  if (bring_home) exchange(Direction::kFromGhosts, forces, 3, false);
  const int n = atom->nlocal + (bring_home ? 0 : atom->nghost);
  kk::add_forces<DeviceType>(n, forces, atomKK->k_f.template view<DeviceType>());
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::tally_virial(const double* found) {
  double here[6];
  kk::to_host<DeviceType>(here, found, sizeof here);
  for (int c = 0; c < 6; ++c) virial[c] += here[c];
}

// LAMMPS reads these on the host for every pair style.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::tally_atomic_virials(double* virials, int width, double** to) {
  const bool bring_home = force->newton_pair == 0;
  if (bring_home) exchange(Direction::kFromGhosts, virials, width, false);
  const std::size_t n = atom->nlocal + (bring_home ? 0 : atom->nghost);
  host_virials_.resize(n * width);
  kk::to_host<DeviceType>(host_virials_.data(), virials, n * width * sizeof(double));
  for (std::size_t i = 0; i < n; ++i)
    for (int c = 0; c < width; ++c) to[i][c] += host_virials_[i * width + c];
}

namespace LAMMPS_NS {
template class PairEKDKokkos<LMPDeviceType>;
#ifdef LMP_KOKKOS_GPU
template class PairEKDKokkos<LMPHostType>;
#endif
}  // namespace LAMMPS_NS

void* ekd_create_pair_kokkos(void* lmp, bool on_host) {
  auto* const of = static_cast<LAMMPS*>(lmp);
  if (on_host) return static_cast<Pair*>(new PairEKDKokkos<LMPHostType>(of));
  return static_cast<Pair*>(new PairEKDKokkos<LMPDeviceType>(of));
}
