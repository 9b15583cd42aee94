// Structures of the kit, repeated to any size, with the rows of neighbours that an engine brings.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/model_metadata.hpp"
#include "ekd/neighbor_list.hpp"

namespace bench {

struct Structure {
  std::vector<std::int64_t> species;  // index into the elements of the model
  std::vector<double> positions;      // [n_atoms, 3], Å
  std::array<double, 9> cell{};
  std::array<std::uint8_t, 3> pbc{};

  std::int64_t n_atoms() const { return std::ssize(species); }
  ekd::NeighborList pairs(double cutoff, int n_threads) const;
};

// A text file: the number of atoms; the cell, 9 numbers; the periodic directions, 3 flags; then
// atomic number, x, y, z of each atom.
// Throws ekd::Error: there is no such file, it has another form, or an element the model lacks.
Structure read_structure(const std::string& path, const ekd::ModelMetadata& model);

// A structure repeated along its periodic directions, as a process of an engine has it: atoms of
// its own, ghosts around them, and full rows of neighbours within a reach.
class Supercell {
 public:
  Supercell(const Structure& unit, std::array<int, 3> repeats, double reach, int n_threads);

  std::int64_t n_owned() const { return n_owned_; }
  std::int64_t n_atoms() const { return std::ssize(species_); }
  const std::vector<int>& species() const { return species_; }
  const std::vector<int>& owners() const { return owners_; }
  const std::vector<double>& positions() const { return positions_; }
  const std::vector<int>& counts() const { return counts_; }  // of the atoms it owns
  int most_neighbors() const { return most_; }
  double mean_neighbors() const;

  // Neighbour k of atom i is at k * n_owned + i.
  ekd::Buffer<int> columns() const;
  // Each atom of its own: the neighbours, one after the other; they begin at starts[i].
  std::vector<int> rows(std::vector<const int*>& starts) const;
  // The atom of the unit that an atom of its own is a copy of.
  std::int64_t of_unit(std::int64_t atom) const { return atom % n_unit_; }

 private:
  template <class Act>
  void each_neighbor(std::int64_t atom, const Act& act) const;  // act(k, neighbour)
  std::int64_t place(const std::array<std::int64_t, 3>& at) const;

  std::int64_t n_unit_, n_owned_;
  int n_threads_;
  std::array<int, 3> repeats_;
  std::array<int, 3> shell_{};  // cells of ghosts on either side
  std::vector<std::int64_t> unit_offsets_;
  std::vector<std::int64_t> unit_neighbors_;
  std::vector<std::array<int, 3>> unit_shifts_;
  std::vector<int> index_;  // of each atom of each cell, ghosts included; -1: out of reach
  std::vector<int> species_, owners_, counts_;
  std::vector<double> positions_;
  int most_ = 0;
};

// The repeats of a cell of n_unit atoms that come nearest to n_atoms, about the same in each
// direction.
std::array<int, 3> repeats_for(std::int64_t n_unit, std::int64_t n_atoms);

}  // namespace bench
