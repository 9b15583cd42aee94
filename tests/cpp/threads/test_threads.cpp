// Compares results with one thread and with several threads. They must be bitwise identical, and
// ThreadSanitizer must find no data race.
#include <array>
#include <atomic>
#include <cmath>
#include <numeric>
#include <random>
#include <thread>

#include "check.hpp"
#include "ekd/atom_kernels.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/forces.hpp"
#include "ekd/message_kernels.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/pair_weights.hpp"
#include "ekd/parallel.hpp"

namespace {

constexpr double kCutoff = 4.0;
constexpr int kThreads = 4;

std::vector<double> numbers(std::size_t n, unsigned seed, double low = -1.0, double high = 1.0) {
  std::mt19937_64 engine(seed);
  std::vector<double> result(n);
  for (double& value : result)
    value = low + (high - low) * static_cast<double>(engine() >> 11) * 0x1p-53;
  return result;
}

// Boxes of n³ atoms at displaced lattice sites. Every second box is periodic in two directions
// only.
struct Boxes {
  explicit Boxes(std::int64_t n_structures, int n = 6) {
    const double spacing = 1.6;
    for (std::int64_t s = 0; s < n_structures; ++s) {
      for (int a = 0; a < n; ++a)
        for (int b = 0; b < n; ++b)
          for (int c = 0; c < n; ++c)
            positions.insert(positions.end(), {a * spacing, b * spacing, c * spacing});
      offsets.push_back(offsets.back() + n * n * n);
      for (int d = 0; d < 9; ++d) cells.push_back(d % 4 == 0 ? n * spacing : 0.0);
      pbc.insert(pbc.end(), {1, 1, s % 2 == 0});
    }
    move(1, 0.3);
  }

  void move(unsigned seed, double distance) {
    const std::vector<double> steps = numbers(positions.size(), seed, -distance, distance);
    for (std::size_t k = 0; k < positions.size(); ++k) positions[k] += steps[k];
  }

  ekd::StructureBatch batch() const {
    ekd::StructureBatch batch;
    batch.n_structures = static_cast<std::int64_t>(offsets.size()) - 1;
    batch.offsets = offsets.data();
    batch.positions = positions.data();
    batch.cells = cells.data();
    batch.pbc = pbc.data();
    return batch;
  }

  std::int64_t n_atoms() const { return offsets.back(); }

  std::vector<std::int64_t> offsets{0};
  std::vector<double> positions;
  std::vector<double> cells;
  std::vector<std::uint8_t> pbc;
};

template <class One, class Other>
bool same(const One& one, const Other& other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end());
}

void check_same(const ekd::NeighborList& one, const ekd::NeighborList& other) {
  check(one.n_pairs() > 0);
  check(same(one.pairs, other.pairs));
  check(same(one.cell_shifts, other.cell_shifts));
  check(same(one.pair_vectors, other.pair_vectors));
  check(same(one.center_offsets, other.center_offsets));
}

// Results of a model.
struct Found {
  std::vector<double> energies, gradients, forces, uncertainty;
  std::array<double, 9> virial{};
  bool operator==(const Found&) const = default;
};

Found evaluate(ekd::ExportedModel& model, const Boxes& boxes, int n_threads) {
  const ekd::NeighborList list =
      ekd::build_neighbor_list(boxes.batch(), model.metadata().cutoff, n_threads);
  std::vector<std::int64_t> species(boxes.n_atoms());
  const auto n_species = static_cast<std::int64_t>(model.metadata().atomic_numbers.size());
  for (std::size_t k = 0; k < species.size(); ++k)
    species[k] = static_cast<std::int64_t>(k) % n_species;
  ekd::AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = boxes.n_atoms();
  graph.species = species.data();
  graph.n_pairs = static_cast<std::int64_t>(list.n_pairs());
  graph.offsets = list.center_offsets.data();
  graph.neighbors = list.neighbors().data();
  graph.pair_vectors = list.pair_vectors.data();
  graph.with_uncertainty = model.metadata().uncertainty;
  graph.n_threads = n_threads;
  ekd::NoExchange exchange;
  const ekd::Evaluation found = model.evaluate(graph, exchange);
  const ekd::Buffer<double> forces = ekd::forces(graph, found.pair_gradients.data());
  const auto copied = [](const ekd::Buffer<double>& buffer) {
    return std::vector<double>(buffer.begin(), buffer.end());
  };
  return {copied(found.atomic_energies), copied(found.pair_gradients), copied(forces),
          copied(found.uncertainty), ekd::virial(graph, found.pair_gradients.data())};
}

}  // namespace

TEST(threads_neighbor_lists) {
  const Boxes boxes(5, 5);
  const ekd::NeighborList expected = ekd::build_neighbor_list(boxes.batch(), kCutoff, 1);
  for (const int n_threads : {2, 3, kThreads})
    check_same(ekd::build_neighbor_list(boxes.batch(), kCutoff, n_threads), expected);
}

TEST(threads_lists_of_atoms_that_move) {
  Boxes boxes(1);
  ekd::VerletList one(kCutoff, 0.6), several(kCutoff, 0.6);
  for (unsigned step = 0; step < 12; ++step) {
    check_same(several.update(boxes.batch(), kThreads), one.update(boxes.batch(), 1));
    boxes.move(100 + step, 0.06);
  }
  check(several.n_rebuilds() == one.n_rebuilds() && several.n_rebuilds() > 1);
}

TEST(threads_lists_of_several_callers_at_once) {
  const Boxes boxes(2, 4);
  const ekd::NeighborList expected = ekd::build_neighbor_list(boxes.batch(), kCutoff, 1);
  std::atomic<int> n_same{0};
  std::vector<std::thread> callers;
  for (int k = 0; k < 4; ++k)
    callers.emplace_back([&] {
      for (int call = 0; call < 5; ++call) {
        const ekd::NeighborList found = ekd::build_neighbor_list(boxes.batch(), kCutoff, 3);
        n_same += same(found.pairs, expected.pairs) ? 1 : 0;
      }
    });
  for (std::thread& caller : callers) caller.join();
  check(n_same == 20);
}

TEST(threads_kernels_of_training) {
  const Boxes boxes(1, 5);
  const ekd::NeighborList list = ekd::build_neighbor_list(boxes.batch(), kCutoff, 1);
  const auto n_pairs = static_cast<std::int64_t>(list.n_pairs());
  const std::int64_t n_atoms = boxes.n_atoms(), n_sensitivities = 5, n_components = 4;
  const std::int64_t n_weights = n_sensitivities * n_components, n_features = 7;
  const std::vector<double> mu = numbers(n_sensitivities, 3, 0.3, 0.9);
  const std::vector<double> sigma = numbers(n_sensitivities, 4, 0.1, 0.3);
  const std::vector<double> features = numbers(n_atoms * n_features, 5);
  const std::vector<double> gradient = numbers(n_atoms * n_weights * n_features, 6);
  const ekd::PairWeights form{n_sensitivities, n_components, kCutoff};
  ekd::PairRows rows;
  rows.n_centers = n_atoms;
  rows.row_offsets = list.center_offsets.data();
  rows.neighbors = list.neighbors().data();
  rows.n_weights = n_weights;
  rows.n_features = n_features;
  const ekd::Invariants invariants{n_components, n_features, 1e-3};
  const std::vector<double> mixed = numbers(n_atoms * n_components * n_features, 7);
  const std::vector<double> scales = numbers(n_features, 8);
  const std::vector<double> base = numbers(n_atoms * n_features, 9);

  struct Results {
    std::vector<double> weights, messages, by_weight, atoms;
    bool operator==(const Results&) const = default;
  };
  const auto run = [&](int n_threads) {
    Results found;
    found.weights.resize(n_pairs * n_weights);
    found.messages.resize(n_atoms * n_weights * n_features);
    found.by_weight.resize(n_pairs * n_weights);
    found.atoms.resize(n_atoms * n_features);
    ekd::parallel_ranges(n_threads, 0, n_pairs, 100, [&](std::int64_t begin, std::int64_t end) {
      ekd::pair_weights(form, list.pair_vectors.data(), mu.data(), sigma.data(), begin, end,
                        found.weights.data());
    });
    ekd::parallel_ranges(n_threads, 0, n_atoms, 9, [&](std::int64_t begin, std::int64_t end) {
      ekd::message(rows, found.weights.data(), features.data(), begin, end, found.messages.data());
      ekd::message_weight(rows, gradient.data(), features.data(), begin, end,
                          found.by_weight.data());
      ekd::invariants(invariants, mixed.data(), scales.data(), base.data(), begin, end,
                      found.atoms.data());
    });
    return found;
  };
  const Results expected = run(1);
  check(std::any_of(expected.messages.begin(), expected.messages.end(),
                    [](double value) { return value != 0; }));
  check(run(kThreads) == expected);
}

TEST(threads_evaluation_of_a_model) {
  const Boxes boxes(1);
  for (const ekd::Precision precision : {ekd::Precision::kDouble, ekd::Precision::kSingle})
    for (const std::int64_t block : {0, 50}) {
      ekd::ModelOptions options;
      options.precision = precision;
      options.block = block;
      ekd::ExportedModel model(EKD_MODEL, options);
      const Found expected = evaluate(model, boxes, 1);
      check(std::isfinite(expected.energies.front()) && !expected.uncertainty.empty());
      for (const int n_threads : {2, kThreads})
        check(evaluate(model, boxes, n_threads) == expected);
    }
}

TEST(threads_models_of_several_callers_at_once) {
  const Boxes boxes(1, 4);
  ekd::ExportedModel first(EKD_MODEL);
  const Found expected = evaluate(first, boxes, 1);
  std::atomic<int> n_same{0};
  std::vector<std::thread> callers;
  for (int k = 0; k < 3; ++k)
    callers.emplace_back([&] {
      ekd::ExportedModel model(EKD_MODEL);
      for (int call = 0; call < 3; ++call) n_same += evaluate(model, boxes, 2) == expected ? 1 : 0;
    });
  for (std::thread& caller : callers) caller.join();
  check(n_same == 9);
}
