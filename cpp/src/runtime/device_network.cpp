#include "device_network.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "device_engine.hpp"
#include "ekd/error.hpp"

namespace ekd {
namespace {

// Rows of the device by way of the host.
template <class T>
class HostExchange final : public DeviceExchange {
 public:
  HostExchange(device::Device& device, GhostExchange& exchange, std::int64_t n_atoms,
               std::vector<T>& rows)
      : device_(device), exchange_(exchange), n_atoms_(n_atoms), rows_(rows) {}

  bool is_needed() const override { return exchange_.is_needed(); }
  void copy_to_ghosts(void* rows, std::int64_t width, bool) override {
    if (!exchange_.is_needed()) return;
    const std::size_t size = static_cast<std::size_t>(n_atoms_ * width);
    rows_.resize(std::max<std::size_t>(1, size));
    if (size > 0) device_.read(rows_.data(), rows, size * sizeof(T));
    exchange_.copy_to_ghosts({rows_.data(), width});
    if (size > 0) device_.write(rows, rows_.data(), size * sizeof(T));
  }

 private:
  device::Device& device_;
  GhostExchange& exchange_;
  std::int64_t n_atoms_;
  std::vector<T>& rows_;
};

template <class T>
class DeviceNetwork final : public Network {
 public:
  DeviceNetwork(const HipnnWeights& weights, std::shared_ptr<device::Device> device,
                std::int64_t block)
      : device_(std::move(device)),
        engine_(weights, device_, block),
        has_uncertainty_(weights.uncertainty),
        species_(device_),
        starts_(device_),
        pairs_(device_),
        energies_(device_),
        gradients_(device_),
        uncertainty_(device_),
        status_(device_) {}

  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) override {
    if (graph.n_atoms > std::numeric_limits<int>::max())
      throw Error("more atoms than a device counts: use more processes");
    // Numbers on the device: 32 bits of an atom.
    host_species_.assign(graph.species, graph.species + graph.n_atoms);
    host_pairs_.resize(static_cast<std::size_t>(graph.n_pairs));
    for (std::int64_t p = 0; p < graph.n_pairs; ++p) {
      const double* const r = graph.pair_vectors + 3 * p;
      host_pairs_[p] = {static_cast<T>(r[0]), static_cast<T>(r[1]), static_cast<T>(r[2]),
                        static_cast<int>(graph.neighbors[p])};
    }
    host_starts_.assign(graph.offsets, graph.offsets + graph.n_centers + 1);
    DeviceAtoms atoms;
    atoms.n_atoms = static_cast<int>(graph.n_atoms);
    atoms.n_centers = static_cast<int>(graph.n_centers);
    atoms.n_owned = static_cast<int>(graph.n_owned);
    atoms.species = species_.set(host_species_.data(), host_species_.size());
    const DevicePairs<T> pairs{pairs_.set(host_pairs_.data(), host_pairs_.size()),
                               starts_.set(host_starts_.data(), host_starts_.size())};
    device::Results results{};
    results.energies = energies_.reserve_cleared(graph.n_owned);
    results.pair_gradients = gradients_.reserve_cleared(3 * graph.n_pairs);
    results.status = status_.reserve_cleared(1);
    results.scale = 1.0;
    const bool asked = graph.with_uncertainty && has_uncertainty_;
    double* const uncertainty = asked ? uncertainty_.reserve_cleared(graph.n_owned) : nullptr;
    HostExchange<T> by_host(*device_, exchange, graph.n_atoms, rows_);
    engine_.evaluate(atoms, &pairs, by_host, results, uncertainty);

    Evaluation found;
    found.atomic_energies = Buffer<double>(graph.n_owned);
    found.pair_gradients = Buffer<double>(3 * graph.n_pairs);
    energies_.get(found.atomic_energies.data(), graph.n_owned);
    gradients_.get(found.pair_gradients.data(), 3 * graph.n_pairs);
    if (asked) {
      found.uncertainty = Buffer<double>(graph.n_owned);
      uncertainty_.get(found.uncertainty.data(), graph.n_owned);
    }
    return found;
  }

  std::int64_t exchange_width() const override { return engine_.exchange_width(); }

 private:
  std::shared_ptr<device::Device> device_;
  DeviceEngine<T> engine_;
  bool has_uncertainty_;
  device::Array<int> species_;
  device::Array<long long> starts_;
  device::Array<device::Pair<T>> pairs_;
  device::Array<double> energies_, gradients_, uncertainty_;
  device::Array<unsigned> status_;
  std::vector<int> host_species_;
  std::vector<device::Pair<T>> host_pairs_;
  std::vector<long long> host_starts_;
  std::vector<T> rows_;
};

}  // namespace

std::unique_ptr<Network> make_device_network(const HipnnWeights& weights, const std::string& device,
                                             bool single, std::int64_t block, int process) {
  const std::shared_ptr<device::Device> on = device::open_device(device, process);
  if (single) return std::make_unique<DeviceNetwork<float>>(weights, on, block);
  return std::make_unique<DeviceNetwork<double>>(weights, on, block);
}

}  // namespace ekd
