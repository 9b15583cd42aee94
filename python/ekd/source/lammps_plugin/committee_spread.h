// How far the students of a committee disagree. Plain arrays: no LAMMPS, no torch, no MPI.
#pragma once

#include <vector>

#include "neighborhood.h"

namespace ekd {

class CommitteeSpread {
 public:
  // Forgets the last evaluation; `n_all` atoms follow, owned and ghosts.
  void begin(std::size_t n_all, int n_members);
  // The next member: its energy on this process (eV), and its forces from the pair gradients.
  void add(const Neighborhood& atoms, double energy, const double* pair_gradients);

  // The next member, by its forces: [n_all, 3], eV/Å.
  void add(double energy, const double* forces);

  // One row of `width()` forces per atom, eV/Å. What the rows of ghosts hold belongs to their
  // owners; the sum over processes is the caller's to make, of the energies as well.
  std::vector<double>& forces() { return forces_; }
  int width() const { return 3 * n_members_; }
  std::vector<double>& energies() { return energies_; }

  // sqrt(mean over members of |F - mean F|^2 / 3) of an owned atom, eV/Å.
  double forces_std(std::size_t atom) const;
  // Population standard deviation, eV.
  double energy_std() const;

  double memory_usage() const;

 private:
  int n_members_ = 0;
  std::vector<double> energies_;  // [n_members]
  std::vector<double> forces_;    // [n_all, n_members, 3]
};

}  // namespace ekd
