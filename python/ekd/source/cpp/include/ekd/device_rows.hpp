// A model on an accelerator as engines use it: positions and rows of neighbours in, energies and
// forces out, all in the memory of the device. No torch, and nothing of CUDA.
#pragma once

#include <cstdint>

namespace ekd {

// The atoms of a process. All pointers are into the memory of the device.
struct DeviceAtoms {
  int n_atoms = 0;
  int n_centers = 0;                  // atoms 0 .. n_centers - 1 are evaluated ...
  int n_owned = 0;                    // ... and the energies of the first n_owned of them count
  const int* species = nullptr;       // [n_atoms]; below 0: not an atom of the model
  const double* positions = nullptr;  // [n_atoms, 3], Å
  // The neighbours of atom i are neighbors[i * row_stride + k * column_stride], k < counts[i], with
  // what LAMMPS notes of special bonds in the highest bits. Those beyond the cutoff are passed
  // over.
  const int* counts = nullptr;
  const int* neighbors = nullptr;
  long long row_stride = 0, column_stride = 1;
  int most_neighbors = 0;       // no count is larger
  const int* owners = nullptr;  // [n_atoms]: the atom in whose place one stands; null: itself
};

// What is asked for: all that has a pointer. Everything is added to.
struct DeviceResults {
  double* energies = nullptr;          // [n_owned]
  double* forces = nullptr;            // [n_atoms, 3]
  double* virial = nullptr;            // [6]: xx, yy, zz, xy, xz, yz
  double* atomic_virials = nullptr;    // [n_atoms, 6]: half of a pair's to each atom
  double* centroid_virials = nullptr;  // [n_atoms, 9]: xx, yy, zz, xy, xz, yz, yx, zx, zy
  double* uncertainty = nullptr;       // [n_owned]
  double scale = 1.0;                  // units of energy
  // Whether forces, energies and virial are the same, bit by bit, in every run on one device.
  bool reproducible = true;
};

// How numbers move between atoms that are evaluated and those that are not (ghosts).
class DeviceExchange {
 public:
  // False: every atom of every process is evaluated, and the following does nothing.
  virtual bool is_needed() const = 0;
  // rows: float or double, [n_atoms, width], on the device; those of ghosts become those of their
  // owners.
  virtual void copy_to_ghosts(void* rows, std::int64_t width, bool is_single) = 0;

 protected:
  ~DeviceExchange() = default;
};

class DeviceRows {
 public:
  virtual ~DeviceRows() = default;

  // Returns when it is done. Collective where the exchange is: 2 (n_interactions - 1) times, atoms
  // or not.
  // Throws StructureError: two atoms lie on top of each other, or a force is too large to be true;
  // std::exception if the device fails.
  virtual void evaluate_rows(const DeviceAtoms& atoms, DeviceExchange& exchange,
                             const DeviceResults& results) = 0;
};

}  // namespace ekd
