// Numbers of centers and threads of blocks on a device, and the shared memory that they need.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../device/device.hpp"
#include "device_weights.hpp"

namespace ekd {

// Block size of the kernels of the atom layers.
struct Tile {
  int centers, threads;
};

template <class T>
class DeviceTiles {
 public:
  // Keeps the references. Throws DeviceError: the network is too wide for the device.
  DeviceTiles(const device::Device& on, const std::vector<DeviceInteraction<T>>& interactions,
              int components);

  Tile species() const { return species_; }
  Tile layers() const { return layers_; }
  // Block size of the kernels whose threads handle four features of an atom each.
  Tile pairs(std::size_t interaction, int slice) const;

  // Bytes of shared memory.
  std::int64_t species_bytes(const Tile& tile) const;
  std::int64_t layer_bytes(std::size_t interaction, const Tile& tile) const;
  std::int64_t mix_bytes(std::size_t interaction, const Tile& tile) const;
  std::int64_t differentiate_bytes(std::size_t interaction, const Tile& tile, int slice) const;

 private:
  void require_room(std::int64_t bytes, const std::string& what) const;

  const device::Device& on_;
  const std::vector<DeviceInteraction<T>>& interactions_;
  int components_;
  Tile species_{}, layers_{};
};

}  // namespace ekd
