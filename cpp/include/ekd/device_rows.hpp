// Interface to a model on an accelerator for MD engines: positions and neighbor rows in, energies
// and forces out, all in device memory. Independent of torch and CUDA.
#pragma once

#include <cstdint>

namespace ekd {

// The atoms of a process. All pointers are device pointers.
struct DeviceAtoms {
  int n_atoms = 0;
  int n_centers = 0;                  // atoms 0 .. n_centers - 1 are evaluated ...
  int n_owned = 0;                    // ... and energies of the first n_owned of them are summed
  const int* species = nullptr;       // [n_atoms]; below 0: not an atom of the model
  const double* positions = nullptr;  // [n_atoms, 3], Å
  // The neighbors of atom i are neighbors[i * row_stride + k * column_stride], k < counts[i], with
  // LAMMPS's special bond flags in the highest bits. Neighbors beyond the cutoff are ignored.
  const int* counts = nullptr;
  const int* neighbors = nullptr;
  long long row_stride = 0, column_stride = 1;
  int most_neighbors = 0;       // largest count
  const int* owners = nullptr;  // [n_atoms]: the atom that each is a copy of; null: itself
};

// Requested results: those with a pointer. All are accumulated.
struct DeviceResults {
  double* energies = nullptr;          // [n_owned]
  double* forces = nullptr;            // [n_atoms, 3]
  double* virial = nullptr;            // [6]: xx, yy, zz, xy, xz, yz
  double* atomic_virials = nullptr;    // [n_atoms, 6]: half of each pair to each of its atoms
  double* centroid_virials = nullptr;  // [n_atoms, 9]: xx, yy, zz, xy, xz, yz, yx, zx, zy
  double* uncertainty = nullptr;       // [n_owned]
  double scale = 1.0;                  // conversion factor of energies
  // Whether forces, energies and virial are bitwise reproducible on one device.
  bool reproducible = true;
};

// Exchange of data between atoms that are evaluated and ghosts.
class DeviceExchange {
 public:
  // False: every atom of every process is evaluated, and copy_to_ghosts() does nothing.
  virtual bool is_needed() const = 0;
  // rows: float or double, [n_atoms, width], on the device; rows of ghosts are set to those of
  // their owners.
  virtual void copy_to_ghosts(void* rows, std::int64_t width, bool is_single) = 0;

 protected:
  ~DeviceExchange() = default;
};

class DeviceRows {
 public:
  virtual ~DeviceRows() = default;

  // Synchronous. If the exchange is collective, so is this: it exchanges 2 (n_interactions - 1)
  // times, even without atoms.
  // Throws StructureError: two atoms coincide, or a force is unphysically large; std::exception if
  // the device fails.
  virtual void evaluate_rows(const DeviceAtoms& atoms, DeviceExchange& exchange,
                             const DeviceResults& results) = 0;
};

}  // namespace ekd
