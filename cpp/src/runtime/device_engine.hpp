// A HIP-NN-TS network on a device: positions and neighbor rows in, energies and forces out, all in
// device memory. Independent of files and MD engines.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../device/device.hpp"
#include "ekd/device_rows.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// Given pairs, instead of positions and rows. Pairs of atom i: starts[i] .. starts[i + 1] - 1.
template <class T>
struct DevicePairs {
  device::Pair<T>* pairs = nullptr;
  const long long* starts = nullptr;  // [n_centers + 1]
};

template <class T>
class DeviceEngine {
 public:
  // Memory is allocated for the pairs of at most `block` centers; 0: as many as fit into 256 MiB.
  // Throws ModelFileError: a weight is invalid. Error: the device cannot run the network.
  DeviceEngine(const HipnnWeights& weights, std::shared_ptr<device::Device> device,
               std::int64_t block);
  ~DeviceEngine();
  DeviceEngine(const DeviceEngine&) = delete;
  DeviceEngine& operator=(const DeviceEngine&) = delete;

  // Accumulates all results that have a pointer. Asynchronous.
  // uncertainty: [n_owned], or null. pairs: null if the atoms have rows.
  // If the exchange is collective, so is this: it exchanges 2 (n_interactions - 1) times, even
  // without atoms.
  void evaluate(const DeviceAtoms& atoms, const DevicePairs<T>* pairs, DeviceExchange& exchange,
                const device::Results& results, double* uncertainty);

  // Required number of rows of Results::virial; no launch has more blocks.
  std::int64_t n_virials(const DeviceAtoms& atoms) const;
  // Largest width of exchanged rows; 0: nothing is exchanged.
  std::int64_t exchange_width() const;
  // See Network::reduced_block.
  std::int64_t reduced_block() const;
  device::Program& program() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ekd
