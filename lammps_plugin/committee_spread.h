// Spread of the students of a committee. Plain arrays: no LAMMPS, torch or MPI.
#pragma once

#include <vector>

#include "neighborhood.h"

namespace ekd {

class CommitteeSpread {
 public:
  // Begins a new evaluation with `n_all` atoms, owned and ghosts.
  void begin(std::size_t n_all, int n_members);
  // Adds a member: its energy on this process (eV), and its forces from the pair gradients.
  void add(const Neighborhood& atoms, double energy, const double* pair_gradients);

  // Adds a member with its forces: [n_all, 3], eV/Å.
  void add(double energy, const double* forces);

  // One row of `width()` force components per atom, eV/Å. The caller must add the rows of ghosts to
  // those of their owners, and sum the energies over processes.
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
