#include "hipnn_network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/hipnn_kernels.hpp"
#include "ekd/parallel.hpp"
#include "hipnn_weights.hpp"
#include "interaction_weights.hpp"
#include "uncertainty_head.hpp"
#include "zbl.hpp"

namespace ekd {
namespace {

// ---- weights --------------------------------------------------------------------------------

// The weights of one stage as the kernels want them, and the memory that they point into.
template <class T>
class Stage {
 public:
  Stage(const InteractionWeights<T>& from, const HipnnKernels<T>& kernels)
      : kernels_(kernels), kept_(kernels.panel) {
    const std::int64_t F = from.width;
    const std::int64_t F_in = from.width_in;
    const std::int64_t W = padded_to(F, kernels.panel);
    w.of_species = from.of_species;
    w.width_in = F_in;
    w.width_out = F;
    w.padded = W;
    w.n_components = (from.l_max + 1) * (from.l_max + 1);
    w.cutoff = from.cutoff;
    w.cusp = from.cusp;
    set_sensitivities(from);

    const std::int64_t S = w.n_sensitivities;
    const std::int64_t SP = w.padded_sensitivities;
    if (from.of_species) {
      const auto at = [&](std::int64_t row, std::int64_t f) {
        return f < F && row % SP < S ? from.mix(f, row % SP, row / SP) : T(0);
      };
      w.mix = kept_.pack(F_in * SP, W, at);
      w.mix_transposed =
          kept_.pack(W, F_in * SP, [&](auto k, auto n) { return n < F_in * SP ? at(n, k) : T(0); });
    } else {
      const auto at = [&](std::int64_t f_in, std::int64_t column) {
        return column % W < F ? from.mix(column % W, column / W, f_in) : T(0);
      };
      w.mix = kept_.pack(F_in, S * W, at);
      w.mix_transposed =
          kept_.pack(S * W, F_in, [&](auto k, auto n) { return n < F_in ? at(n, k) : T(0); });
    }

    w.tensor_scales = rows(from.tensor_scales, from.l_max, F);
    w.outer_bias = rows(from.outer_bias, 1, F);
    w.outer = linear(from.outer, F, F, false);
    w.outer_transposed = linear(from.outer, F, F, true);
    const bool skips = !from.skip.empty();
    if (from.of_species) {
      // One-hot features pick a column.
      std::vector<T> center_rows(F_in * F), skip_rows(F_in * F, T(0));
      for (std::int64_t s = 0; s < F_in; ++s)
        for (std::int64_t f = 0; f < F; ++f) {
          center_rows[s * F + f] = from.center[f * F_in + s] + from.center_bias[f];
          skip_rows[s * F + f] = skips ? from.skip[f * F_in + s] : T(s == f);
        }
      w.center_rows = rows(center_rows, F_in, F);
      w.skip_rows = rows(skip_rows, F_in, F);
    } else {
      w.center_bias = rows(from.center_bias, 1, F);
      w.center = linear(from.center, F, F_in, false, true);
      w.center_transposed = linear(from.center, F, F_in, true, true);
      if (skips) {
        w.skip = linear(from.skip, F, F_in, false, true);
        w.skip_transposed = linear(from.skip, F, F_in, true, true);
      }
    }
    for (const auto& layer : from.layers)
      layers_.push_back({linear(layer.inner, F, F, false), linear(layer.inner, F, F, true),
                         linear(layer.outer, F, F, false), linear(layer.outer, F, F, true),
                         rows(layer.inner_bias, 1, F), rows(layer.outer_bias, 1, F)});
    w.layers = layers_.data();
    w.n_layers = static_cast<std::int64_t>(layers_.size());
    w.energy = rows(from.energy, 1, F);
    w.energy_bias = from.energy_bias;
  }

  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  StageWeights<T> w{};

  // How many sensitivities the pairs of an atom feel if none is shorter than `nearest`.
  std::int16_t reach(double nearest) const {
    const auto bin = static_cast<std::int64_t>(nearest / w.cutoff * kWindowBins - 0.01);
    return reach_[std::clamp<std::int64_t>(bin, 0, kWindowBins - 1)];
  }

 private:
  // n rows of width F, padded.
  const T* rows(const std::vector<T>& values, std::int64_t n, std::int64_t F) {
    std::vector<T> out(std::max<std::int64_t>(1, n) * w.padded, T(0));
    for (std::int64_t row = 0; row < n; ++row)
      std::copy_n(values.begin() + row * F, F, out.begin() + row * w.padded);
    return kept_.keep(std::move(out));
  }

  // Of torch.nn.Linear, weight [n_out, n_in], y = x weight^T: for x, or for dE/dy. What is inside
  // the stage has padded rows; the features that enter it have not.
  PackedMatrix<T> linear(const std::vector<T>& weight, std::int64_t n_out, std::int64_t n_in,
                         bool transposed, bool enters = false) {
    const auto at = [&](std::int64_t from, std::int64_t to) {
      return from < n_in && to < n_out ? weight[to * n_in + from] : T(0);
    };
    const std::int64_t in = enters ? n_in : w.padded;
    if (transposed) return kept_.pack(w.padded, in, [&](auto k, auto n) { return at(n, k); });
    return kept_.pack(in, w.padded, at);
  }

  void set_sensitivities(const InteractionWeights<T>& from) {
    w.n_sensitivities = from.n_sensitivities();
    w.padded_sensitivities = padded_to(w.n_sensitivities, kernels_.lanes);
    std::vector<T> inverse = from.inverse_mu, width = from.sigma;
    inverse.resize(w.padded_sensitivities, T(0));
    width.resize(w.padded_sensitivities, T(0));
    window_begin_ = from.window_begin;
    window_end_ = from.window_end;
    reach_ = window_end_;
    for (std::int64_t bin = kWindowBins - 1; bin-- > 0;)
      reach_[bin] = std::max(reach_[bin], reach_[bin + 1]);
    w.inverse_mu = kept_.keep(std::move(inverse));
    w.sigma = kept_.keep(std::move(width));
    w.window_begin = window_begin_.data();
    w.window_end = window_end_.data();
  }

  const HipnnKernels<T>& kernels_;
  std::vector<std::int16_t> window_begin_, window_end_, reach_;
  std::vector<AtomLayerWeights<T>> layers_;
  PackedWeights<T> kept_;
};

// ---- memory ---------------------------------------------------------------------------------

// Grows and never shrinks, and is not cleared: from step to step a simulation needs the same.
template <class T>
class Workspace {
 public:
  T* reserve(std::int64_t n) {
    if (n > size_) {
      release();
      data_.reset(new T[n]);
      size_ = n;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }
  void release() {
    data_.reset();
    size_ = 0;
  }

 private:
  std::unique_ptr<T[]> data_;
  std::int64_t size_ = 0;
};

// Most memory for q, if the user sets no block.
constexpr std::int64_t kMostBytes = std::int64_t(2) << 30;
// Atoms that are taken from pairs to gradients in one go, where the model allows it: what they
// need stays in the cache.
constexpr std::int64_t kChunk = 48;

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
    // Where nothing is added to them before, they are cleared on the way, while in the cache.
    const bool cleared = several() || repulsion_;
    if (cleared)
      parallel(n, [&](std::int64_t begin, std::int64_t end) { clear_gradients(begin, end); });
    if (repulsion_) {
      parallel(n, [&](std::int64_t begin, std::int64_t end) {
        repulsion_->add(graph.offsets, graph.neighbors, graph.pair_vectors, species, seeds_.data(),
                        begin, end, energies_, gradients_);
      });
    }

    // Features that leave the last interaction, where somebody reads them.
    const bool with_uncertainty = graph.with_uncertainty && head_ != nullptr;
    T* const read_features =
        with_uncertainty ? features_.back().reserve(n * stages_.back()->w.width_out) : nullptr;

    if (!several()) {
      parallel(n, [&](std::int64_t begin, std::int64_t end) {
        if (!cleared) clear_gradients(begin, end);
        kernels_.evaluate_alone(stages_[0]->w, pairs_, species, seeds_.data(), begin, end,
                                energies_, gradients_, read_features);
      });
    } else {
      evaluate_several(exchange, read_features);
    }
    found.atomic_energies = owned(std::move(energies));
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
  // Chunks small enough that what is computed of one stays in the cache. A thread takes the next
  // when it is done with one: cores are not equally fast where they are shared with others. Who
  // takes which does not matter, because chunks write to places of their own.
  template <class Run>
  void parallel(std::int64_t first, std::int64_t end, const Run& run) const {
    parallel_ranges(graph_.n_threads, first, end, kChunk, run);
  }
  template <class Run>
  void parallel(std::int64_t n, const Run& run) const {
    parallel(0, n, run);
  }

  // Energies of the first n_owned centres.
  Buffer<double> owned(Buffer<double> energies) const {
    if (graph_.n_owned == graph_.n_centers) return energies;
    Buffer<double> first(graph_.n_owned);
    std::copy_n(energies.begin(), graph_.n_owned, first.begin());
    return first;
  }

  // Features that enter interaction k; null: the species alone.
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
    const T* gradient_out = nullptr;  // dE/d(features that leave), [n_centers, F]
    for (std::size_t k = last + 1; k-- > 0;) {
      const auto& w = stages_[k]->w;
      // dE/d(features that enter), [n_centers, F_in]
      T* const gradient_in = k > 0 ? feature_gradients_[k].reserve(n * w.width_in) : nullptr;
      const auto back = [&](std::int64_t begin, std::int64_t end, T* mixed) {
        kernels_.backpropagate(w, species, entering(k), seeds_.data(), gradient_out, begin, end,
                               mixed, k == last ? energies_ : nullptr, gradient_in,
                               k == last ? read_features : nullptr);
        if (k == 0)
          kernels_.differentiate(w, pairs_, species, nullptr, nullptr, mixed, nullptr, nullptr,
                                 begin, end, gradients_, nullptr);
      };
      if (k == last)
        sum_messages(k, exchange, back);
      else
        each_center(k, back);
      if (k == 0) break;
      exchange.copy_to_ghosts(message_sums(k));  // dE/dA, which has taken the place of A
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

  // Offsets of the sorted pairs, and for later interactions the pairs of each neighbour.
  //
  // Every process has the pairs of which it owns the centre. For each of them, the owner of the
  // other atom has the reverse. Where there are ghosts, later interactions therefore read the pairs
  // in the other direction: the neighbours are owned, and ghosts are centres. So q of every atom is
  // made once, by its owner, who adds what it says to all its centres, and what comes together for
  // ghosts is sent to those who own them.
  void set_pairs(const AtomGraph& graph, bool has_ghosts) {
    graph_ = graph;
    pairs_ = {graph.pair_vectors, 1.0, {graph.offsets, nullptr, graph.neighbors}, {}};
    if (!several()) return;
    find_columns();
    pairs_.of_neighbors = {columns_.data(), by_neighbor_.data(), centers_.data()};
    later_ = has_ghosts ? StagePairs{pairs_.vectors, -1.0, pairs_.of_neighbors, pairs_.of_centers}
                        : pairs_;
    find_senders(graph.n_centers);
  }

  void find_columns() {
    const std::int64_t* const neighbors = graph_.neighbors;
    columns_.assign(graph_.n_atoms + 1, 0);
    for (std::int64_t p = 0; p < graph_.n_pairs; ++p) ++columns_[neighbors[p] + 1];
    std::partial_sum(columns_.begin(), columns_.end(), columns_.begin());
    std::int64_t* const by_neighbor = by_neighbor_.reserve(graph_.n_pairs);
    std::int64_t* const centers = centers_.reserve(graph_.n_pairs);
    std::vector<std::int64_t> next(columns_.begin(), columns_.end() - 1);
    for (std::int64_t i = 0; i < graph_.n_centers; ++i)
      for (std::int64_t p = graph_.offsets[i]; p < graph_.offsets[i + 1]; ++p) {
        centers[p] = i;
        by_neighbor[next[neighbors[p]]++] = p;
      }
  }

  // Atoms that are neighbours of any in later interactions, all of them among the first n, and how
  // many sensitivities their pairs ask for: far ones are felt by few.
  void find_senders(std::int64_t n) {
    const AtomPairs& rows = later_.of_neighbors;
    reach_.assign(n, 0);
    parallel(n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = begin; j < end; ++j) {
        double square = std::numeric_limits<double>::infinity();
        for (std::int64_t k = rows.offsets[j]; k < rows.offsets[j + 1]; ++k) {
          const double* r = later_.vectors + 3 * (rows.order != nullptr ? rows.order[k] : k);
          square = std::min(square, r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
        }
        if (rows.offsets[j] == rows.offsets[j + 1]) continue;
        for (std::size_t k = 1; k < stages_.size(); ++k)
          reach_[j] = std::max(reach_[j], stages_[k]->reach(std::sqrt(square)));
      }
    });
    senders_.clear();
    for (std::int64_t j = 0; j < n; ++j)
      if (rows.offsets[j] < rows.offsets[j + 1]) senders_.push_back(j);
  }

  std::int64_t sums_size(std::size_t k) const {
    return stages_[k]->w.n_components * stages_[k]->w.padded;
  }

  // The sums over neighbours of interaction k, of all atoms, in rows that an exchange understands.
  AtomRows message_sums(std::size_t k) { return {mixed_[k].data(), sums_size(k)}; }

  // `act(begin, end, sums)` on all that are evaluated.
  template <class Act>
  void each_center(std::size_t k, Act act) {
    parallel(graph_.n_centers, [&](std::int64_t begin, std::int64_t end) {
      act(begin, end, mixed_[k].data() + begin * sums_size(k));
    });
  }

  // Interaction k up to the sums over neighbours; `act(begin, end, sums)` takes them from there.
  template <class Act>
  void sum_messages(std::size_t k, GhostExchange& exchange, Act act) {
    // Kept for the way back.
    mixed_[k].reserve((k == 0 ? graph_.n_centers : graph_.n_atoms) * sums_size(k));
    if (k == 0) return mix(k, pairs_, 0, graph_.n_centers, act);
    if (!exchange.is_needed()) return mix_later(k, act);
    mix_later(k, [](std::int64_t, std::int64_t, T*) {});
    exchange.add_from_ghosts(message_sums(k));
    each_center(k, act);
  }

  // Of a later interaction, for all atoms that are centres, in blocks.
  template <class Act>
  void mix_later(std::size_t k, Act act) {
    for (std::int64_t first = 0; first < graph_.n_atoms;) {
      const std::int64_t block = block_size();
      const std::int64_t end = std::min(first + block, graph_.n_atoms);
      const bool there_is_room = try_with(block, [&] {
        if (block >= graph_.n_atoms)
          project(k, senders_);
        else
          project(k, senders_to(first, end));
      });
      if (!there_is_room) continue;
      mix(k, later_, first, end, act);
      first = end;
    }
  }

  // Whether there is memory for what `act` does, which has changed nothing where there is none; the
  // next block is half as large then. What is exchanged with other processes lies outside of
  // blocks, so that each process may have blocks of its own.
  template <class Act>
  bool try_with(std::int64_t block, const Act& act) {
    try {
      act();
      return true;
    } catch (const std::bad_alloc&) {
      if (block <= 1) throw;
      for (auto& q : q_) q.release();  // a block that is smaller than the whole makes it anew
      reduced_block_ = std::max<std::int64_t>(1, std::min(block, graph_.n_atoms) / 2);
      return false;
    }
  }

  // For the centres of a range.
  template <class Act>
  void mix(std::size_t k, const StagePairs& pairs, std::int64_t first, std::int64_t end, Act act) {
    parallel(first, end, [&](std::int64_t from, std::int64_t to) {
      T* const sums = mixed_[k].data() + from * sums_size(k);
      kernels_.mix(stages_[k]->w, pairs, graph_.species, q_rows_.data(), q_[k].data(), from, to,
                   sums);
      act(from, to, sums);
    });
  }

  // Back through the sum over neighbours of a later interaction.
  void differentiate(std::size_t k, T* gradient_in) {
    const auto run = [&](const std::vector<std::int64_t>& atoms) {
      parallel(static_cast<std::int64_t>(atoms.size()), [&](std::int64_t begin, std::int64_t end) {
        kernels_.differentiate(stages_[k]->w, later_, graph_.species, q_rows_.data(), q_[k].data(),
                               mixed_[k].data(), atoms.data(), reach_.data(), begin, end,
                               gradients_, gradient_in);
      });
    };
    if (block_size() >= graph_.n_atoms) return run(senders_);  // q is still there
    std::vector<std::int64_t> atoms;
    for (std::size_t first = 0; first < senders_.size();) {
      const std::int64_t block = block_size();
      const std::size_t end = std::min(first + static_cast<std::size_t>(block), senders_.size());
      const bool there_is_room = try_with(block, [&] {
        atoms.assign(senders_.begin() + first, senders_.begin() + end);
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

  // The neighbours of the centres of a range.
  std::vector<std::int64_t> senders_to(std::int64_t first, std::int64_t end) {
    const AtomPairs& rows = later_.of_centers;
    std::vector<bool> marked(graph_.n_atoms, false);
    std::vector<std::int64_t> atoms;
    for (std::int64_t k = rows.offsets[first]; k < rows.offsets[end]; ++k) {
      const std::int64_t j = rows.others[rows.order != nullptr ? rows.order[k] : k];
      if (!marked[j]) atoms.push_back(j);
      marked[j] = true;
    }
    return atoms;
  }

  // Centres whose neighbours' q is in memory at a time.
  std::int64_t block_size() const {
    if (reduced_block_ > 0) return reduced_block_;
    if (block_ > 0) return block_;
    const std::int64_t most = kMostBytes / (row_size_ * static_cast<std::int64_t>(sizeof(T)));
    // A block reaches out to several times its own size.
    return static_cast<std::int64_t>(senders_.size()) <= most
               ? std::max<std::int64_t>(1, graph_.n_atoms)
               : std::max<std::int64_t>(1, most / 4);
  }

  const HipnnKernels<T>& kernels_;
  std::int64_t block_;
  std::int64_t reduced_block_ = 0;  // since memory has run out
  std::vector<std::unique_ptr<Stage<T>>> stages_;
  std::int64_t row_size_ = 1;  // of q
  std::vector<double> reference_;
  std::optional<Repulsion> repulsion_;
  std::unique_ptr<UncertaintyHead<T>> head_;  // null: there is none

  // Of the evaluation that is under way.
  AtomGraph graph_;
  StagePairs pairs_{};
  StagePairs later_{};  // as later interactions read them
  double* energies_ = nullptr;
  double* gradients_ = nullptr;
  // Keeps the memory of one array of gradients from one evaluation to the next.
  std::shared_ptr<BlockPool> pool_ = std::make_shared<BlockPool>(0);
  std::vector<double> seeds_;
  std::vector<std::int64_t> columns_;
  Workspace<std::int64_t> by_neighbor_, centers_;  // [n_pairs], for later interactions
  std::vector<std::int16_t> reach_;                // [n_centers]
  std::vector<std::int64_t> senders_;    // atoms that are neighbours of any, later interactions
  std::vector<std::int64_t> q_rows_;     // [n_atoms]
  std::vector<Workspace<T>> mixed_, q_;  // by interaction
  std::vector<Workspace<T>> features_;   // that enter interaction k; the last: that leave the last
  std::vector<Workspace<T>> feature_gradients_;  // dE/d(features that enter interaction k)
};

}  // namespace

std::unique_ptr<Network> make_hipnn_network(const HipnnWeights& weights, bool single,
                                            std::int64_t block) {
  check_network(weights);
  if (single) return std::make_unique<HipnnNetwork<float>>(weights, block);
  return std::make_unique<HipnnNetwork<double>>(weights, block);
}

}  // namespace ekd
