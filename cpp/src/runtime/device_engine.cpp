#include "device_engine.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include "device_terms.hpp"
#include "device_tiles.hpp"
#include "device_weights.hpp"
#include "ekd/error.hpp"
#include "ekd/neighbor_list.hpp"

namespace ekd {
namespace {

using device::Kernel;
using device::Launch;

constexpr int kWidestSlice = 128;
constexpr std::int64_t kPairBytes = std::int64_t(256) << 20;

int ceiling(std::int64_t n, std::int64_t unit) { return static_cast<int>((n + unit - 1) / unit); }

std::int64_t up_to_blocks(std::int64_t rows) {
  return (rows + device::kProductRows - 1) / device::kProductRows * device::kProductRows;
}

}  // namespace

template <class T>
struct DeviceEngine<T>::Parts {
  Parts(const HipnnWeights& weights, std::shared_ptr<device::Device> the_device,
        std::int64_t the_block)
      : on(std::move(the_device)), kept(on), block(the_block), pairs(on), n_pairs(on), q(on) {
    check_network(weights);
    components = static_cast<int>((weights.l_max + 1) * (weights.l_max + 1));
    cutoff = weights.cutoff;
    const std::size_t n = weights.feature_widths.size() - 1;
    for (std::size_t k = 0; k < n; ++k) {
      interactions.push_back(to_device(InteractionWeights<T>(weights, k), kWidestSlice, kept));
      sums.push_back(std::make_unique<device::Array<T>>(on));
      features.push_back(std::make_unique<device::Array<T>>(on));
      gradients.push_back(std::make_unique<device::Array<T>>(on));
    }
    features.push_back(std::make_unique<device::Array<T>>(on));
    const std::int64_t n_species = weights.feature_widths[0];
    reference = kept.keep(weights.arrays.get<double>("reference_energies", {n_species}));
    if (weights.zbl) repulsion = repulsion_on_device(weights.arrays, n_species, kept);
    if (weights.uncertainty) head = uncertainty_on_device<T>(weights, *on, kept);
    tiles = std::make_unique<DeviceTiles<T>>(*on, interactions, components);
    compile();
  }

  void compile() {
    device::ProgramKey key;
    key.single = sizeof(T) == 4;
    key.components = components;
    const auto& first = interactions[0].weights;
    const bool same = std::all_of(interactions.begin(), interactions.end(), [&](const auto& other) {
      return other.weights.out_width == first.out_width &&
             other.weights.n_sensitivities == first.n_sensitivities;
    });
    if (same) {
      key.width = first.out_width;
      key.sensitivities = first.n_sensitivities;
      key.sensitivity_width = first.sensitivity_width;
    }
    program = on->compile(key);
  }

  // ---- one evaluation ----------------------------------------------------------------------

  bool several() const { return interactions.size() > 1; }

  // Calls act(first, n) for chunks of centers, after finding their pairs.
  template <class Act>
  void each_chunk(const Act& act) {
    if (given != nullptr) {
      arguments.pairs = given->pairs;
      arguments.starts = given->starts;
      arguments.first = 0;
      arguments.n_centers = atoms.n_centers;
      if (atoms.n_centers > 0) act();
      return;
    }
    arguments.pairs_stride = stride(atoms);
    for (int first = 0; first < atoms.n_centers;) {
      const int chunk = chunk_size(atoms);
      arguments.first = first;
      arguments.n_centers = std::min(chunk, atoms.n_centers - first);
      arguments.starts = nullptr;
      try {
        arguments.pairs =
            pairs.reserve(static_cast<std::size_t>(arguments.n_centers) * arguments.pairs_stride);
        arguments.n_pairs = n_pairs.reserve(arguments.n_centers);
      } catch (const DeviceMemoryError&) {
        if (arguments.n_centers <= 1) throw;
        reduced_block = arguments.n_centers / 2;  // nothing has been launched for these centers
        found = false;
        continue;
      }
      // Pairs found before are still valid if all of them fit into memory.
      if (chunk < atoms.n_centers || !found) {
        const int threads = on->is_parallel() ? 128 : 4;
        run(Kernel::find_pairs, {ceiling(arguments.n_centers, threads), threads, 0}, arguments);
        found = true;
      }
      act();
      first += arguments.n_centers;
    }
  }

  static int stride(const DeviceAtoms& of) { return std::max(1, of.most_neighbors); }

  int chunk_size(const DeviceAtoms& of) const {
    if (reduced_block > 0) return static_cast<int>(std::min<std::int64_t>(reduced_block, 1 << 30));
    if (block > 0) return static_cast<int>(std::min<std::int64_t>(block, 1 << 30));
    const std::int64_t row =
        static_cast<std::int64_t>(stride(of)) * static_cast<std::int64_t>(sizeof(device::Pair<T>));
    return static_cast<int>(std::clamp<std::int64_t>(kPairBytes / row, 64, 1 << 30));
  }

  template <class Argument>
  void run(Kernel kernel, const Launch& launch, const Argument& argument) {
    program->launch(kernel, launch, &argument);
  }

  Launch launch_of(const Tile& tile, std::int64_t bytes) {
    arguments.centers_per_block = tile.centers;
    return {ceiling(arguments.n_centers, tile.centers), tile.threads,
            static_cast<std::size_t>(bytes)};
  }

  void repel() {
    if (!repulsion) return;
    const int threads = on->is_parallel() ? 128 : 4;
    const device::PairsAndRepulsion<T> both{arguments, *repulsion};
    run(Kernel::repel,
        {ceiling(arguments.n_centers, threads), threads, threads * device::kSums * sizeof(double)},
        both);
  }

  void run_species(Kernel kernel) {
    const Launch launch = launch_of(tiles->species(), tiles->species_bytes(tiles->species()));
    run(kernel, launch, arguments);
  }

  // The layers of all centers of the process.
  void run_layers(std::size_t k, Kernel kernel) {
    arguments.first = 0;
    arguments.n_centers = atoms.n_centers;
    run(kernel, launch_of(tiles->layers(), tiles->layer_bytes(k, tiles->layers())), arguments);
  }

  void multiply(int n_rows, const T* from, std::int64_t from_stride,
                const device::Matrix<T>& matrix, T* to, std::int64_t to_stride, bool adds) {
    const device::ProductArguments<T> a{n_rows, from, from_stride, matrix, to, to_stride, adds};
    run(Kernel::product, {ceiling(n_rows, device::kProductRows), on->is_parallel() ? 128 : 3, 0},
        a);
  }

  void project(std::size_t k, const DeviceSlice<T>& slice) {
    const auto& w = interactions[k].weights;
    const std::int64_t size = static_cast<std::int64_t>(w.n_sensitivities) * slice.width;
    arguments.q = q.reserve(up_to_blocks(n_featured) * size);
    multiply(n_featured, features[k]->data(), w.in_width, slice.mix, arguments.q, size, false);
  }

  void set_interaction(std::size_t k) {
    arguments.interaction = interactions[k].weights;
    arguments.features_in = k > 0 ? features[k]->data() : nullptr;
    arguments.features_out = nullptr;
    arguments.gradient_out = nullptr;
    arguments.gradient_in = nullptr;
    arguments.sums = sums[k]->data();
  }

  void evaluate(const DeviceAtoms& the_atoms, const DevicePairs<T>* the_pairs,
                DeviceExchange& exchange, const device::Results& results, double* uncertainty) {
    atoms = the_atoms;
    given = the_pairs;
    // Without an exchange, only centers have features.
    n_featured = exchange.is_needed() ? atoms.n_atoms : atoms.n_centers;
    found = false;
    arguments = {};
    arguments.n_atoms = atoms.n_atoms;
    arguments.n_owned = atoms.n_owned;
    arguments.species = atoms.species;
    arguments.positions = atoms.positions;
    arguments.counts = atoms.counts;
    arguments.neighbors = atoms.neighbors;
    arguments.row_stride = atoms.row_stride;
    arguments.column_stride = atoms.column_stride;
    arguments.owners = atoms.owners;
    arguments.cutoff_squared = cutoff * cutoff;
    arguments.overlap_squared = kOverlapDistance * kOverlapDistance;
    arguments.results = results;
    const bool with_uncertainty = uncertainty != nullptr && head;
    const std::size_t last = interactions.size() - 1;
    const auto feature_rows = [&](std::size_t k) {  // output of interaction k - 1
      return features[k]->reserve(up_to_blocks(n_featured) * interactions[k - 1].weights.out_width);
    };
    set_interaction(0);
    arguments.reference_energies = reference;
    if (!several()) {
      if (with_uncertainty) arguments.features_out = feature_rows(1);
      each_chunk([&] {
        repel();
        run_species(Kernel::evaluate_alone);
      });
    } else {
      evaluate_several(exchange, feature_rows, last, with_uncertainty);
    }
    if (with_uncertainty) read_uncertainty(uncertainty);
  }

  template <class Rows>
  void evaluate_several(DeviceExchange& exchange, const Rows& feature_rows, std::size_t last,
                        bool with_uncertainty) {
    const std::int64_t C = components;
    for (std::size_t k = 0; k <= last; ++k) {
      const auto& w = interactions[k].weights;
      sums[k]->reserve(std::max(1, n_featured) * C * w.out_width);
      if (k > 0) exchange.copy_to_ghosts(features[k]->data(), w.in_width, sizeof(T) == 4);
      set_interaction(k);
      if (k == 0) {
        each_chunk([&] {
          repel();
          run_species(Kernel::mix_species);
        });
      } else {
        for (const auto& slice : interactions[k].slices) {
          project(k, slice);
          run_on_pairs(k, slice, Kernel::mix_features);
        }
      }
      arguments.reference_energies = k == 0 ? reference : nullptr;
      if (k == last) break;
      arguments.features_out = feature_rows(k + 1);
      run_layers(k, Kernel::activate);
    }
    for (std::size_t k = last + 1; k-- > 0;) {
      const auto& w = interactions[k].weights;
      set_interaction(k);
      arguments.gradient_out = k == last ? nullptr : gradients[k + 1]->data();
      if (k > 0)
        arguments.gradient_in = gradients[k]->reserve(up_to_blocks(atoms.n_centers) * w.in_width);
      double* const energies = arguments.results.energies;
      if (k < last) arguments.results.energies = nullptr;  // added in the forward pass
      if (k == last && with_uncertainty) arguments.features_out = feature_rows(k + 1);
      run_layers(k, Kernel::backpropagate);
      arguments.results.energies = energies;
      if (k == 0) {
        each_chunk([&] { run_species(Kernel::differentiate_species); });
        break;
      }
      exchange.copy_to_ghosts(sums[k]->data(), C * w.out_width, sizeof(T) == 4);
      const bool is_there = interactions[k].slices.size() == 1 && interactions.size() == 2;
      for (const auto& slice : interactions[k].slices) {
        if (!is_there) project(k, slice);
        run_on_pairs(k, slice, Kernel::differentiate_features);
        const std::int64_t size = static_cast<std::int64_t>(w.n_sensitivities) * slice.width;
        multiply(atoms.n_centers, q.data(), size, slice.mix_transposed, gradients[k]->data(),
                 w.in_width, true);
      }
    }
  }

  void run_on_pairs(std::size_t k, const DeviceSlice<T>& slice, Kernel kernel) {
    arguments.slice_first = slice.first;
    arguments.slice_width = slice.width;
    arguments.q = q.data();
    const Tile tile = tiles->pairs(k, slice.width);
    const std::int64_t bytes = kernel == Kernel::mix_features
                                   ? tiles->mix_bytes(k, tile)
                                   : tiles->differentiate_bytes(k, tile, slice.width);
    each_chunk([&] { run(kernel, launch_of(tile, bytes), arguments); });
  }

  void read_uncertainty(double* uncertainty) {
    // Only called if there is a head.
    device::UncertaintyArguments<T> a = *head;  // NOLINT(bugprone-unchecked-optional-access)
    const int H = a.second_layer.columns;
    a.first = 0;
    a.n_centers = atoms.n_owned;
    a.centers_per_block = device::kProductRows;
    for (int level = 0; level < a.n_levels; ++level)
      a.features[level] = features[level + 1]->data();
    a.uncertainty = uncertainty;
    a.scale = arguments.results.scale;
    run(Kernel::read_uncertainty,
        {ceiling(a.n_centers, a.centers_per_block), on->is_parallel() ? 128 : 3,
         2 * static_cast<std::size_t>(a.centers_per_block) * H * sizeof(T)},
        a);
  }

  std::shared_ptr<device::Device> on;
  DeviceWeights kept;
  std::int64_t block;
  std::int64_t reduced_block = 0;  // after memory has run out
  int components = 1;
  double cutoff = 0.0;
  std::vector<DeviceInteraction<T>> interactions;
  const double* reference = nullptr;
  std::optional<device::RepulsionArguments> repulsion;
  std::optional<device::UncertaintyArguments<T>> head;
  std::unique_ptr<DeviceTiles<T>> tiles;
  std::unique_ptr<device::Program> program;

  // State of the current evaluation.
  DeviceAtoms atoms;
  const DevicePairs<T>* given = nullptr;
  int n_featured = 0;  // atoms that have features
  device::Arguments<T> arguments{};
  bool found = false;  // all pairs are in memory

  device::Array<device::Pair<T>> pairs;
  device::Array<int> n_pairs;
  device::Array<T> q;
  std::vector<std::unique_ptr<device::Array<T>>> sums;       // per interaction
  std::vector<std::unique_ptr<device::Array<T>>> features;   // inputs; the last entry: outputs
  std::vector<std::unique_ptr<device::Array<T>>> gradients;  // dE/d(input features)
};

template <class T>
DeviceEngine<T>::DeviceEngine(const HipnnWeights& weights, std::shared_ptr<device::Device> device,
                              std::int64_t block)
    : parts_(std::make_unique<Parts>(weights, std::move(device), block)) {}

template <class T>
DeviceEngine<T>::~DeviceEngine() = default;

template <class T>
void DeviceEngine<T>::evaluate(const DeviceAtoms& atoms, const DevicePairs<T>* pairs,
                               DeviceExchange& exchange, const device::Results& results,
                               double* uncertainty) {
  parts_->evaluate(atoms, pairs, exchange, results, uncertainty);
}

template <class T>
std::int64_t DeviceEngine<T>::n_virials(const DeviceAtoms& atoms) const {
  // No kernel has more blocks than centers.
  return std::max<std::int64_t>(1, std::min(atoms.n_centers, parts_->chunk_size(atoms)));
}

template <class T>
std::int64_t DeviceEngine<T>::reduced_block() const {
  return parts_->reduced_block;
}

template <class T>
std::int64_t DeviceEngine<T>::exchange_width() const {
  std::int64_t widest = 0;
  for (std::size_t k = 1; k < parts_->interactions.size(); ++k)
    widest = std::max<std::int64_t>(widest,
                                    parts_->components * parts_->interactions[k].weights.out_width);
  return widest;
}

template <class T>
device::Program& DeviceEngine<T>::program() const {
  return *parts_->program;
}

template class DeviceEngine<float>;
template class DeviceEngine<double>;

}  // namespace ekd
