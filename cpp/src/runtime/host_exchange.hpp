// Exchange of device rows with ghosts through the host.
#pragma once

#include <cstdint>
#include <vector>

#include "../device/staging.hpp"
#include "ekd/device_rows.hpp"
#include "ekd/network.hpp"

namespace ekd {

class HostExchange final : public DeviceExchange {
 public:
  // Owned atoms come first, ghosts after them.
  // memory: buffer for the rows, kept by the caller between evaluations.
  HostExchange(device::Staging& staging, GhostExchange& exchange, std::int64_t n_atoms,
               std::int64_t n_owned, std::vector<double>& memory)
      : staging_(staging),
        exchange_(exchange),
        n_atoms_(n_atoms),
        n_owned_(n_owned),
        memory_(memory) {}

  bool is_needed() const override { return exchange_.is_needed(); }

  void copy_to_ghosts(void* rows, std::int64_t width, bool is_single) override {
    if (!exchange_.is_needed()) return;
    if (is_single)
      pass(static_cast<float*>(rows), width);
    else
      pass(static_cast<double*>(rows), width);
  }

 private:
  template <class T>
  void pass(T* rows, std::int64_t width) {
    const auto n = static_cast<std::size_t>(n_atoms_ * width);
    const auto owned = static_cast<std::size_t>(n_owned_ * width);
    memory_.resize(n * sizeof(T) / sizeof(double) + 1);
    T* const here = reinterpret_cast<T*>(memory_.data());
    staging_.download(here, rows, owned);
    exchange_.copy_to_ghosts({here, width});
    staging_.upload(rows + owned, here + owned, n - owned);
  }

  device::Staging& staging_;
  GhostExchange& exchange_;
  std::int64_t n_atoms_, n_owned_;
  std::vector<double>& memory_;
};

}  // namespace ekd
