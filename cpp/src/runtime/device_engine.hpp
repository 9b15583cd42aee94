// A HIP-NN-TS on a device: positions and rows of neighbours in, energies and forces out, all in the
// memory of the device. Nothing here knows of files or engines.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../device/device.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// The atoms of a process. All pointers are into the memory of the device.
struct DeviceAtoms {
  int n_atoms = 0;
  int n_centers = 0;  // atoms 0 .. n_centers - 1 are evaluated ...
  int n_owned = 0;    // ... and the energies of the first n_owned of them count
  const int* species = nullptr;       // [n_atoms]; below 0: not an atom of the model
  const double* positions = nullptr;  // [n_atoms, 3], Å
  // The neighbours of atom i are neighbors[i * row_stride + k * column_stride], k < counts[i].
  const int* counts = nullptr;
  const int* neighbors = nullptr;
  long long row_stride = 0, column_stride = 1;
  int most_neighbors = 0;       // the largest count
  const int* owners = nullptr;  // [n_atoms]: the atom in whose place one stands; null: itself
};

// Pairs that somebody else has found, in place of positions and rows. Of atom i: starts[i] up to
// starts[i + 1].
template <class T>
struct DevicePairs {
  device::Pair<T>* pairs = nullptr;
  const long long* starts = nullptr;  // [n_centers + 1]
};

// How numbers move between atoms that are evaluated and those that are not (ghosts).
class DeviceExchange {
 public:
  virtual bool is_needed() const = 0;
  // rows: float or double, [n_atoms, width], on the device; those of ghosts become those of their
  // owners.
  virtual void copy_to_ghosts(void* rows, std::int64_t width, bool is_single) = 0;

 protected:
  ~DeviceExchange() = default;
};

template <class T>
class DeviceEngine {
 public:
  // Of the pairs of `block` centres at most, room is made at a time; 0: as many as 256 MiB hold.
  // Throws ModelFileError: a weight is wrong. Error: the device cannot run the network.
  DeviceEngine(const HipnnWeights& weights, std::shared_ptr<device::Device> device,
               std::int64_t block);
  ~DeviceEngine();
  DeviceEngine(const DeviceEngine&) = delete;
  DeviceEngine& operator=(const DeviceEngine&) = delete;

  // Adds to all results that have a pointer; the virial of the launches adds up to n_virials() rows.
  // uncertainty: [n_owned], or null. pairs: null if the atoms have rows. Returns before it is done.
  // Collective where the exchange is: 2 (n_interactions - 1) times, atoms or not.
  void evaluate(const DeviceAtoms& atoms, const DevicePairs<T>* pairs, DeviceExchange& exchange,
                const device::Results& results, double* uncertainty);

  // Rows that Results::virial must have room for.
  std::int64_t n_virials(const DeviceAtoms& atoms) const;
  // Numbers in the widest row that is exchanged; 0: none is.
  std::int64_t exchange_width() const;
  std::int64_t bytes() const;  // of the device that this engine has taken

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ekd
