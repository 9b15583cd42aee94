// Rows of a device that reach their ghosts by way of the host.
#pragma once

#include <cstdint>
#include <vector>

#include "../device/device.hpp"
#include "ekd/device_rows.hpp"
#include "ekd/network.hpp"

namespace ekd {

class HostExchange final : public DeviceExchange {
 public:
  // memory: for the rows, kept by the caller from one evaluation to the next.
  HostExchange(device::Device& device, GhostExchange& exchange, std::int64_t n_atoms,
               std::vector<double>& memory)
      : device_(device), exchange_(exchange), n_atoms_(n_atoms), memory_(memory) {}

  bool is_needed() const override { return exchange_.is_needed(); }

  void copy_to_ghosts(void* rows, std::int64_t width, bool is_single) override {
    if (!exchange_.is_needed()) return;
    const std::size_t bytes =
        static_cast<std::size_t>(n_atoms_ * width) * (is_single ? sizeof(float) : sizeof(double));
    memory_.resize(bytes / sizeof(double) + 1);
    if (bytes > 0) device_.read(memory_.data(), rows, bytes);
    if (is_single)
      exchange_.copy_to_ghosts({reinterpret_cast<float*>(memory_.data()), width});
    else
      exchange_.copy_to_ghosts({memory_.data(), width});
    if (bytes > 0) device_.write(rows, memory_.data(), bytes);
  }

 private:
  device::Device& device_;
  GhostExchange& exchange_;
  std::int64_t n_atoms_;
  std::vector<double>& memory_;
};

}  // namespace ekd
