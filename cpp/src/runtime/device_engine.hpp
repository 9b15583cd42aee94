// A HIP-NN-TS on a device: positions and rows of neighbours in, energies and forces out, all in the
// memory of the device. Nothing here knows of files or engines.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../device/device.hpp"
#include "ekd/device_rows.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// Pairs that somebody else has found, in place of positions and rows. Of atom i: starts[i] up to
// starts[i + 1].
template <class T>
struct DevicePairs {
  device::Pair<T>* pairs = nullptr;
  const long long* starts = nullptr;  // [n_centers + 1]
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

  // Adds to all results that have a pointer.
  // uncertainty: [n_owned], or null. pairs: null if the atoms have rows. Returns before it is done.
  // Collective where the exchange is: 2 (n_interactions - 1) times, atoms or not.
  void evaluate(const DeviceAtoms& atoms, const DevicePairs<T>* pairs, DeviceExchange& exchange,
                const device::Results& results, double* uncertainty);

  // Rows that Results::virial must have room for; no launch has more blocks.
  std::int64_t n_virials(const DeviceAtoms& atoms) const;
  // Numbers in the widest row that is exchanged; 0: none is.
  std::int64_t exchange_width() const;
  // See Network::reduced_block.
  std::int64_t reduced_block() const;
  device::Program& program() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ekd
