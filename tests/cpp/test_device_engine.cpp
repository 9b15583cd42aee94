// Runs the device kernels on the host, and compares forces with derivatives of the energy. With
// sanitizers, the tests also check that all indices are in bounds.
#include <algorithm>
#include <cmath>
#include <memory>

#include "check.hpp"
#include "device_engine.hpp"
#include "ekd/neighbor_list.hpp"
#include "tally.hpp"

namespace {

using namespace ekd;

constexpr double kCutoff = 3.2;
constexpr int kSpecies = 2;

// A network with random weights.
class RandomNetwork {
 public:
  RandomNetwork(int l_max, int n_interactions, int width, int sensitivities) {
    network_.cutoff = kCutoff;
    network_.l_max = l_max;
    network_.n_atom_layers = 1;
    network_.cusp.assign(n_interactions, 1e-3);
    network_.feature_widths.assign(n_interactions + 1, width);
    network_.feature_widths[0] = kSpecies;
    network_.uncertainty = true;
    network_.arrays = Weights("a test");
    for (int k = 0; k < n_interactions; ++k) {
      const std::int64_t F = width, F_in = network_.feature_widths[k], S = sensitivities;
      const std::string block = "blocks." + std::to_string(k) + ".";
      add(block + "outer.weight", {F, F});
      add(block + "outer.bias", {F});
      add(block + "skip.weight", {F, F_in});
      add(block + "interaction.center.weight", {F, F_in});
      add(block + "interaction.center.bias", {F});
      add(block + "interaction.neighbors.weight", {F, S * F_in});
      add(block + "interaction.tensor_scales", {l_max, F});
      std::vector<double> mu, sigma;
      for (int s = 0; s < sensitivities; ++s) {
        mu.push_back(0.8 + 2.0 * s / sensitivities);
        sigma.push_back(4.0);
      }
      keep(block + "interaction.sensitivities.mu", {S}, mu);
      keep(block + "interaction.sensitivities.sigma", {S}, sigma);
      for (const char* layer : {"inner", "outer"}) {
        add(block + "atom_layers.0." + layer + ".weight", {F, F});
        add(block + "atom_layers.0." + layer + ".bias", {F});
      }
      add(block + "energy.weight", {1, F});
      add(block + "energy.bias", {1});
    }
    add("reference_energies", {kSpecies});
    const std::int64_t H = 5, all = n_interactions * width;
    add("uncertainty_head.first.weight", {H, all});
    add("uncertainty_head.first.bias", {H});
    add("uncertainty_head.second.weight", {H, H});
    add("uncertainty_head.second.bias", {H});
    add("uncertainty_head.readout.weight", {1, H});
    add("uncertainty_head.readout.bias", {1});
  }

  const HipnnWeights& weights() const { return network_; }

 private:
  void add(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    // With this scale, features neither grow nor vanish from layer to layer.
    std::normal_distribution<double> normal(0.0,
                                            0.7 / std::sqrt(static_cast<double>(shape.back())));
    std::vector<double> values(n);
    for (double& value : values) value = normal(random_);
    keep(name, shape, values);
  }
  void keep(const std::string& name, const std::vector<std::int64_t>& shape,
            const std::vector<double>& values) {
    kept_.push_back(std::make_unique<std::vector<double>>(values));
    network_.arrays.add(name, {shape, false, kept_.back()->data()});
  }

  std::mt19937 random_{7};
  std::vector<std::unique_ptr<std::vector<double>>> kept_;
  HipnnWeights network_;
};

struct NoDeviceExchange final : DeviceExchange {
  bool is_needed() const override { return false; }
  void copy_to_ghosts(void*, std::int64_t, bool) override {}
};

// A cluster in which each atom is a neighbor of all others.
struct Cluster {
  std::vector<double> positions;
  std::vector<int> species, counts, neighbors;

  explicit Cluster(int n) {
    std::mt19937 random(3);
    std::uniform_real_distribution<double> place(-0.2, 0.2);
    for (int i = 0; i < n; ++i) {
      positions.push_back(1.3 * (i % 3) + place(random));
      positions.push_back(1.3 * (i / 3 % 3) + place(random));
      positions.push_back(1.3 * (i / 9) + place(random));
      species.push_back(i % 7 == 6 ? -1 : i % kSpecies);  // -1: not an element of the model
      counts.push_back(n - 1);
      for (int j = 0; j < n; ++j)
        if (j != i) neighbors.push_back(j | (j % 4) << 30);  // special bonds, as in LAMMPS
    }
  }

  int size() const { return static_cast<int>(species.size()); }

  DeviceAtoms atoms() const {
    DeviceAtoms found;
    found.n_atoms = found.n_centers = found.n_owned = size();
    found.species = species.data();
    found.positions = positions.data();
    found.counts = counts.data();
    found.neighbors = neighbors.data();
    found.row_stride = size() - 1;
    found.most_neighbors = size() - 1;
    return found;
  }
};

struct Found {
  std::vector<double> energies, forces, uncertainty, atomic_virials;
};

template <class T>
Found evaluate(DeviceEngine<T>& engine, const Cluster& cluster) {
  const std::size_t n = cluster.size();
  Found found{std::vector<double>(n), std::vector<double>(3 * n), std::vector<double>(n),
              std::vector<double>(6 * n)};
  std::vector<double> virials(6 * engine.n_virials(cluster.atoms()));
  unsigned status = 0;
  device::Results results{};
  results.energies = found.energies.data();
  results.forces = found.forces.data();
  results.atomic_virials = found.atomic_virials.data();
  results.virial = virials.data();
  results.status = &status;
  results.scale = 1.0;
  NoDeviceExchange nothing;
  engine.evaluate(cluster.atoms(), nullptr, nothing, results, found.uncertainty.data());
  check(status == 0);
  for (int c = 0; c < 6; ++c) {
    double by_blocks = 0.0, by_atoms = 0.0;
    for (std::size_t row = 0; row < virials.size() / 6; ++row) by_blocks += virials[6 * row + c];
    for (std::size_t i = 0; i < n; ++i) by_atoms += found.atomic_virials[6 * i + c];
    check(std::abs(by_blocks - by_atoms) < 1e-9);
  }
  return found;
}

double sum(const std::vector<double>& values) {
  double total = 0.0;
  for (const double value : values) total += value;
  return total;
}

void check_derivatives(int l_max, int n_interactions, int width, std::int64_t block) {
  const RandomNetwork network(l_max, n_interactions, width, 5);
  const auto on = device::make_host_device();
  DeviceEngine<double> engine(network.weights(), on, block);
  Cluster cluster(14);
  const Found found = evaluate(engine, cluster);
  for (const int k : {0, 4, 13, 22, 41}) {
    const double step = 1e-4;
    cluster.positions[k] += step;
    const double up = sum(evaluate(engine, cluster).energies);
    cluster.positions[k] -= 2 * step;
    const double down = sum(evaluate(engine, cluster).energies);
    cluster.positions[k] += step;
    check(std::abs(-(up - down) / (2 * step) - found.forces[k]) < 1e-5,
          "force " + std::to_string(k));
  }
  for (const double value : found.uncertainty) check(std::isfinite(value) && value >= 0.0);
  DeviceEngine<float> single(network.weights(), on, block);
  const Found rough = evaluate(single, cluster);
  for (std::size_t k = 0; k < found.forces.size(); ++k)
    check(std::abs(rough.forces[k] - found.forces[k]) < 1e-3);
}

}  // namespace

// The factor for the units of a run is applied after fixed-point numbers are summed.
TEST(device_fixed_point_forces_in_any_units) {
  const RandomNetwork network(1, 2, 5, 5);
  const auto on = device::make_host_device();
  DeviceEngine<double> engine(network.weights(), on, 0);
  const Cluster cluster(14);
  const std::vector<double> expected = evaluate(engine, cluster).forces;
  std::vector<device::Int64> fixed(expected.size());
  unsigned status = 0;
  device::Results results{};
  results.fixed_forces = fixed.data();
  results.status = &status;
  results.scale = 1e9;
  NoDeviceExchange nothing;
  engine.evaluate(cluster.atoms(), nullptr, nothing, results, nullptr);
  check(status == 0);
  double largest = 0.0;
  for (std::size_t k = 0; k < fixed.size(); ++k) {
    largest = std::max(largest, std::abs(expected[k]));
    check(std::abs(static_cast<double>(fixed[k]) / device::kFixedPoint - expected[k]) < 1e-10);
  }
  check(largest * results.scale > device::kLargestFixed);
  std::vector<double> forces(expected.size());
  const device::FixedPointArguments a{static_cast<device::Int64>(forces.size()), fixed.data(),
                                      forces.data(), 2.0};
  const auto n = static_cast<int>(forces.size());
  engine.program().launch(device::Kernel::convert_forces, {n, 1, 0}, &a);
  for (std::size_t k = 0; k < fixed.size(); ++k)
    check(std::abs(forces[k] - 2.0 * expected[k]) < 1e-10);
}

TEST(device_forces_are_derivatives) {
  for (const int l_max : {0, 1, 2})
    for (const int n_interactions : {1, 2, 3}) check_derivatives(l_max, n_interactions, 6, 0);
}

TEST(device_forces_in_blocks_and_slices) {
  check_derivatives(2, 2, 7, 3);
  check_derivatives(2, 2, 133, 0);
}
