#include "device_network.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "device_engine.hpp"
#include "ekd/error.hpp"
#include "host_exchange.hpp"

namespace ekd {
namespace {

template <class T>
class DeviceNetwork final : public Network, public DeviceRows {
 public:
  DeviceNetwork(const HipnnWeights& weights, std::shared_ptr<device::Device> device,
                std::int64_t block)
      : device_(std::move(device)),
        staging_(device_),
        engine_(weights, device_, block),
        has_uncertainty_(weights.uncertainty),
        species_(device_),
        starts_(device_),
        pairs_(device_),
        energies_(device_),
        gradients_(device_),
        uncertainty_(device_),
        status_(device_),
        virials_(device_),
        fixed_(device_) {}

  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) override {
    if (graph.n_atoms > std::numeric_limits<int>::max())
      throw Error("too many atoms for a device: use more processes [EKD-DEVICE-012]");
    // Atom indices have 32 bits on the device.
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
    HostExchange by_host(staging_, exchange, graph.n_atoms, graph.n_owned, rows_);
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

  void evaluate_rows(const DeviceAtoms& atoms, DeviceExchange& exchange,
                     const DeviceResults& asked) override {
    device::Results results{};
    results.energies = asked.energies;
    results.atomic_virials = asked.atomic_virials;
    results.centroid_virials = asked.centroid_virials;
    results.scale = asked.scale;
    results.status = status_.reserve_cleared(1);
    const std::int64_t n_forces = 3 * static_cast<std::int64_t>(atoms.n_atoms);
    const bool fixed = asked.forces != nullptr && asked.reproducible;
    if (fixed)
      results.fixed_forces = fixed_.reserve_cleared(n_forces);
    else
      results.forces = asked.forces;
    const std::int64_t n_virials = engine_.n_virials(atoms);
    if (asked.virial != nullptr) results.virial = virials_.reserve_cleared(6 * n_virials);
    engine_.evaluate(atoms, nullptr, exchange, results,
                     has_uncertainty_ ? asked.uncertainty : nullptr);
    const int threads = device_->is_parallel() ? 192 : 14;
    if (asked.virial != nullptr) {
      const device::VirialArguments a{n_virials, results.virial, asked.virial};
      engine_.program().launch(device::Kernel::add_virials, {1, threads, threads * sizeof(double)},
                               &a);
    }
    if (fixed) {
      const device::FixedPointArguments a{n_forces, results.fixed_forces, asked.forces,
                                          asked.scale};
      engine_.program().launch(device::Kernel::convert_forces,
                               {static_cast<int>((n_forces + threads - 1) / threads), threads, 0},
                               &a);
    }
    check_status();
  }

  std::int64_t exchange_width() const override { return engine_.exchange_width(); }
  std::int64_t reduced_block() const override { return engine_.reduced_block(); }
  DeviceRows* on_device() override { return this; }

 private:
  // Waits for the device.
  void check_status() const {
    unsigned status = 0;
    status_.get(&status, 1);
    if ((status & device::kOverlap) != 0)
      throw StructureError("two atoms lie on top of each other [EKD-STRUCTURE-008]");
    if ((status & device::kTooLarge) != 0)
      throw StructureError(
          "a force is larger than 131072 eV/Angstrom, or not a number: atoms have come too close "
          "to each other [EKD-STRUCTURE-009]");
  }

  std::shared_ptr<device::Device> device_;
  device::Staging staging_;
  DeviceEngine<T> engine_;
  bool has_uncertainty_;
  device::Array<int> species_;
  device::Array<long long> starts_;
  device::Array<device::Pair<T>> pairs_;
  device::Array<double> energies_, gradients_, uncertainty_;
  device::Array<unsigned> status_;
  device::Array<double> virials_;
  device::Array<device::Int64> fixed_;
  std::vector<int> host_species_;
  std::vector<device::Pair<T>> host_pairs_;
  std::vector<long long> host_starts_;
  std::vector<double> rows_;
};

}  // namespace

std::unique_ptr<Network> make_device_network(const HipnnWeights& weights, const std::string& device,
                                             bool single, std::int64_t block, int process) {
  const std::shared_ptr<device::Device> on = device::open_device(device, process);
  if (single) return std::make_unique<DeviceNetwork<float>>(weights, on, block);
  return std::make_unique<DeviceNetwork<double>>(weights, on, block);
}

}  // namespace ekd
