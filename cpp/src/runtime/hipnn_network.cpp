#include "hipnn_network.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/hipnn_kernels.hpp"
#include "ekd/parallel.hpp"
#include "hipnn_stage.hpp"
#include "hipnn_weights.hpp"
#include "interaction_weights.hpp"
#include "pair_directions.hpp"
#include "uncertainty_head.hpp"
#include "workspace.hpp"
#include "zbl.hpp"

namespace ekd {
namespace {

// Limit of the memory of q, if the user sets no block.
constexpr std::int64_t kMostBytes = std::int64_t(2) << 30;
// Atoms that are evaluated from pairs to gradients at once, if the model allows it, so their data
// stay in the cache.
constexpr std::int64_t kChunk = 48;

// Block size for `n_senders` atoms whose q takes `bytes` each.
std::int64_t default_block(std::int64_t n_senders, std::int64_t n_atoms, std::int64_t bytes) {
  const std::int64_t most = kMostBytes / bytes;
  // The neighbors of a block are several times its own size.
  return std::max<std::int64_t>(1, n_senders <= most ? n_atoms : most / 4);
}

Buffer<double> first_of(Buffer<double> numbers, std::int64_t n) {
  if (n == static_cast<std::int64_t>(numbers.size())) return numbers;
  Buffer<double> first(n);
  std::copy_n(numbers.begin(), n, first.begin());
  return first;
}

// ---- evaluation -----------------------------------------------------------------------------

template <class T>
class HipnnNetwork : public Network {
 public:
  HipnnNetwork(const HipnnWeights& weights, std::int64_t block)
      : kernels_(hipnn_kernels<T>()), block_(block) {
    const std::size_t n_interactions = weights.feature_widths.size() - 1;
    for (std::size_t k = 0; k < n_interactions; ++k)
      stages_.push_back(std::make_unique<Stage<T>>(InteractionWeights<T>(weights, k), kernels_));
    mixed_.resize(stages_.size());
    features_.resize(stages_.size() + 1);
    feature_gradients_.resize(stages_.size());
    q_.resize(stages_.size());
    for (const auto& stage : stages_)
      row_size_ = std::max(row_size_, stage->w.n_sensitivities * stage->w.padded);
    const std::int64_t n_species = weights.feature_widths[0];
    reference_ = weights.arrays.get<double>("reference_energies", {n_species});
    if (weights.zbl) repulsion_.emplace(weights.arrays, n_species);
    if (weights.uncertainty)
      head_ = std::make_unique<UncertaintyHead<T>>(
          weights.arrays,
          std::vector<std::int64_t>(weights.feature_widths.begin() + 1,
                                    weights.feature_widths.end()),
          kernels_);
  }

  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) override {
    set_pairs(graph, exchange.is_needed());
    const std::int64_t n = graph.n_centers;
    Evaluation found;
    Buffer<double> energies(n);
    found.pair_gradients = Buffer<double>(3 * graph.n_pairs, pool_);
    pool_->set_limit(found.pair_gradients.capacity_in_bytes());
    gradients_ = found.pair_gradients.data();
    energies_ = energies.data();
    seeds_.assign(n, 0.0);
    std::fill_n(seeds_.begin(), graph.n_owned, 1.0);
    const std::int64_t* const species = graph.species;
    for (std::int64_t i = 0; i < n; ++i) energies_[i] = reference_[species[i]];
    // Otherwise, gradients are cleared during evaluation, while they are in the cache.
    const bool cleared = several() || repulsion_;
    if (cleared)
      parallel(n, [&](std::int64_t begin, std::int64_t end) { clear_gradients(begin, end); });
    if (repulsion_) {
      parallel(n, [&](std::int64_t begin, std::int64_t end) {
        repulsion_->add(graph.offsets, graph.neighbors, graph.pair_vectors, species, seeds_.data(),
                        begin, end, energies_, gradients_);
      });
    }

    // Output features of the last interaction, if they are used.
    const bool with_uncertainty = graph.with_uncertainty && head_ != nullptr;
    T* const read_features =
        with_uncertainty ? features_.back().reserve(n * stages_.back()->w.width_out) : nullptr;

    if (!several()) {
      parallel(n, [&](std::int64_t begin, std::int64_t end) {
        if (!cleared) clear_gradients(begin, end);
        kernels_.evaluate_alone(stages_[0]->w, pairs_.first(), species, seeds_.data(), begin, end,
                                energies_, gradients_, read_features);
      });
    } else {
      evaluate_several(exchange, read_features);
    }
    found.atomic_energies = first_of(std::move(energies), graph.n_owned);
    if (with_uncertainty) found.uncertainty = read_uncertainty();
    return found;
  }

  std::int64_t reduced_block() const override { return reduced_block_; }

  std::int64_t exchange_width() const override {
    std::int64_t widest = 0;
    for (std::size_t k = 1; k < stages_.size(); ++k) widest = std::max(widest, sums_size(k));
    return widest;
  }

 private:
  // Chunks are small enough that their data stay in the cache. A thread takes the next chunk after
  // finishing one, because cores may not be equally fast if shared with other programs. The
  // assignment does not affect results, because chunks write to different memory.
  template <class Run>
  void parallel(std::int64_t first, std::int64_t end, const Run& run) const {
    parallel_ranges(graph_.n_threads, first, end, kChunk, run);
  }
  template <class Run>
  void parallel(std::int64_t n, const Run& run) const {
    parallel(0, n, run);
  }

  // Input features of interaction k; null: only species.
  const T* entering(std::size_t k) const { return k > 0 ? features_[k].data() : nullptr; }

  void evaluate_several(GhostExchange& exchange, T* read_features) {
    const std::int64_t n = graph_.n_centers;
    const std::int64_t* const species = graph_.species;
    const std::size_t last = stages_.size() - 1;
    for (std::size_t k = 0; k < last; ++k) {
      const auto& w = stages_[k]->w;
      T* const to = features_[k + 1].reserve(n * w.width_out);
      sum_messages(k, exchange, [&](std::int64_t begin, std::int64_t end, T* mixed) {
        kernels_.activate(w, species, entering(k), mixed, begin, end, to, energies_);
      });
    }
    const T* gradient_out = nullptr;  // dE/d(output features), [n_centers, F]
    for (std::size_t k = last + 1; k-- > 0;) {
      const auto& w = stages_[k]->w;
      // dE/d(input features), [n_centers, F_in]
      T* const gradient_in = k > 0 ? feature_gradients_[k].reserve(n * w.width_in) : nullptr;
      const auto back = [&](std::int64_t begin, std::int64_t end, T* mixed) {
        kernels_.backpropagate(w, species, entering(k), seeds_.data(), gradient_out, begin, end,
                               mixed, k == last ? energies_ : nullptr, gradient_in,
                               k == last ? read_features : nullptr);
        if (k == 0)
          kernels_.differentiate(w, pairs_.first(), species, nullptr, nullptr, mixed, nullptr,
                                 nullptr, begin, end, gradients_, nullptr);
      };
      if (k == last)
        sum_messages(k, exchange, back);
      else
        each_center(k, back);
      if (k == 0) break;
      exchange.copy_to_ghosts(message_sums(k));  // dE/dA, which has replaced A
      differentiate(k, gradient_in);
      gradient_out = gradient_in;
    }
  }

  void clear_gradients(std::int64_t begin, std::int64_t end) {
    std::fill(gradients_ + 3 * graph_.offsets[begin], gradients_ + 3 * graph_.offsets[end], 0.0);
  }

  bool several() const { return stages_.size() > 1; }

  Buffer<double> read_uncertainty() const {
    std::vector<const T*> features;
    for (std::size_t k = 1; k < features_.size(); ++k) features.push_back(features_[k].data());
    Buffer<double> found(graph_.n_owned);
    parallel(graph_.n_owned, [&](std::int64_t begin, std::int64_t end) {
      head_->read(features, begin, end, found.data());
    });
    return found;
  }

  void set_pairs(const AtomGraph& graph, bool has_ghosts) {
    graph_ = graph;
    pairs_.set(graph, several(), has_ghosts);
    if (several()) find_reach(graph.n_centers);
  }

  // Number of sensitivities that later pairs of an atom need; distant ones are often unnecessary.
  void find_reach(std::int64_t n) {
    reach_.assign(n, 0);
    parallel(n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = begin; j < end; ++j) {
        if (!pairs_.is_neighbor(j)) continue;
        const double nearest = pairs_.nearest_later(j);
        for (std::size_t k = 1; k < stages_.size(); ++k)
          reach_[j] = std::max(reach_[j], stages_[k]->reach(nearest));
      }
    });
  }

  std::int64_t sums_size(std::size_t k) const {
    return stages_[k]->w.n_components * stages_[k]->w.padded;
  }

  // The sums over neighbors of interaction k for all atoms, as rows for an exchange.
  AtomRows message_sums(std::size_t k) { return {mixed_[k].data(), sums_size(k)}; }

  // Calls `act(begin, end, sums)` for all atoms that are evaluated.
  template <class Act>
  void each_center(std::size_t k, Act act) {
    parallel(graph_.n_centers, [&](std::int64_t begin, std::int64_t end) {
      act(begin, end, mixed_[k].data() + begin * sums_size(k));
    });
  }

  // Interaction k up to the sums over neighbors, which are passed to `act(begin, end, sums)`.
  template <class Act>
  void sum_messages(std::size_t k, GhostExchange& exchange, Act act) {
    // Kept for the backward pass.
    mixed_[k].reserve((k == 0 ? graph_.n_centers : graph_.n_atoms) * sums_size(k));
    if (k == 0) return mix(k, pairs_.first(), 0, graph_.n_centers, act);
    if (!exchange.is_needed()) return mix_later(k, act);
    mix_later(k, [](std::int64_t, std::int64_t, T*) {});
    exchange.add_from_ghosts(message_sums(k));
    each_center(k, act);
  }

  // Sums of a later interaction for all centers, in blocks.
  template <class Act>
  void mix_later(std::size_t k, Act act) {
    for (std::int64_t first = 0; first < graph_.n_atoms;) {
      const std::int64_t block = block_size();
      const std::int64_t end = std::min(first + block, graph_.n_atoms);
      const bool there_is_room = try_with(block, [&] {
        if (block >= graph_.n_atoms)
          project(k, pairs_.senders());
        else
          project(k, pairs_.neighbors_of(first, end));
      });
      if (!there_is_room) continue;
      mix(k, pairs_.later(), first, end, act);
      first = end;
    }
  }

  // Calls `act` and returns whether there was enough memory. If not, `act` has changed nothing, and
  // the next block is half as large. Exchanges with other processes are outside of blocks, so block
  // sizes may differ between processes.
  template <class Act>
  bool try_with(std::int64_t block, const Act& act) {
    try {
      act();
      return true;
    } catch (const std::bad_alloc&) {
      if (block <= 1) throw;
      for (auto& q : q_) q.release();  // recomputed for blocks smaller than the whole
      reduced_block_ = std::max<std::int64_t>(1, std::min(block, graph_.n_atoms) / 2);
      return false;
    }
  }

  // For the centers of a range.
  template <class Act>
  void mix(std::size_t k, const StagePairs& pairs, std::int64_t first, std::int64_t end, Act act) {
    parallel(first, end, [&](std::int64_t from, std::int64_t to) {
      T* const sums = mixed_[k].data() + from * sums_size(k);
      kernels_.mix(stages_[k]->w, pairs, graph_.species, q_rows_.data(), q_[k].data(), from, to,
                   sums);
      act(from, to, sums);
    });
  }

  // Backward pass of the sum over neighbors of a later interaction.
  void differentiate(std::size_t k, T* gradient_in) {
    const auto run = [&](const std::vector<std::int64_t>& atoms) {
      parallel(static_cast<std::int64_t>(atoms.size()), [&](std::int64_t begin, std::int64_t end) {
        kernels_.differentiate(stages_[k]->w, pairs_.later(), graph_.species, q_rows_.data(),
                               q_[k].data(), mixed_[k].data(), atoms.data(), reach_.data(), begin,
                               end, gradients_, gradient_in);
      });
    };
    if (block_size() >= graph_.n_atoms) return run(pairs_.senders());  // q is still available
    const std::vector<std::int64_t>& senders = pairs_.senders();
    std::vector<std::int64_t> atoms;
    for (std::size_t first = 0; first < senders.size();) {
      const std::int64_t block = block_size();
      const std::size_t end = std::min(first + static_cast<std::size_t>(block), senders.size());
      const bool there_is_room = try_with(block, [&] {
        atoms.assign(senders.begin() + first, senders.begin() + end);
        project(k, atoms);
      });
      if (!there_is_room) continue;
      run(atoms);
      first = end;
    }
  }

  void project(std::size_t k, const std::vector<std::int64_t>& atoms) {
    const auto& w = stages_[k]->w;
    const auto n = static_cast<std::int64_t>(atoms.size());
    T* const q = q_[k].reserve(n * w.n_sensitivities * w.padded);
    q_rows_.resize(graph_.n_atoms);
    for (std::int64_t row = 0; row < n; ++row) q_rows_[atoms[row]] = row;
    parallel(n, [&](std::int64_t begin, std::int64_t end) {
      kernels_.project(w, entering(k), atoms.data(), begin, end, reach_.data(), q_rows_.data(), q);
    });
  }

  // Number of centers whose neighbors' q is in memory at once.
  std::int64_t block_size() const {
    if (reduced_block_ > 0) return reduced_block_;
    if (block_ > 0) return block_;
    return default_block(static_cast<std::int64_t>(pairs_.senders().size()), graph_.n_atoms,
                         row_size_ * static_cast<std::int64_t>(sizeof(T)));
  }

  const HipnnKernels<T>& kernels_;
  std::int64_t block_;
  std::int64_t reduced_block_ = 0;  // after memory has run out
  std::vector<std::unique_ptr<Stage<T>>> stages_;
  std::int64_t row_size_ = 1;  // of q
  std::vector<double> reference_;
  std::optional<Repulsion> repulsion_;
  std::unique_ptr<UncertaintyHead<T>> head_;  // null: there is none

  // State of the current evaluation.
  AtomGraph graph_;
  PairDirections pairs_;
  double* energies_ = nullptr;
  double* gradients_ = nullptr;
  // Keeps the memory of an array of gradients between evaluations.
  std::shared_ptr<BlockPool> pool_ = std::make_shared<BlockPool>(0);
  std::vector<double> seeds_;
  std::vector<std::int16_t> reach_;      // [n_centers], for later interactions
  std::vector<std::int64_t> q_rows_;     // [n_atoms]
  std::vector<Workspace<T>> mixed_, q_;  // per interaction
  std::vector<Workspace<T>> features_;   // inputs of interaction k; last entry: outputs of the last
  std::vector<Workspace<T>> feature_gradients_;  // dE/d(input features of interaction k)
};

}  // namespace

std::unique_ptr<Network> make_hipnn_network(const HipnnWeights& weights, bool single,
                                            std::int64_t block) {
  check_network(weights);
  if (single) return std::make_unique<HipnnNetwork<float>>(weights, block);
  return std::make_unique<HipnnNetwork<double>>(weights, block);
}

}  // namespace ekd
