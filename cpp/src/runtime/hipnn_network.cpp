#include "hipnn_network.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/hipnn_kernels.hpp"
#include "hipnn_weights.hpp"
#include "uncertainty_head.hpp"
#include "zbl.hpp"

namespace ekd {
namespace {

// ---- weights --------------------------------------------------------------------------------

// The weights of one stage and the memory that they point into.
template <class T>
class Stage {
 public:
  Stage(const torch::jit::Module& block, std::int64_t l_max, double cutoff, double cusp, bool first,
        const HipnnKernels<T>& kernels)
      : kernels_(kernels), kept_(kernels.panel) {
    const auto weight = [&](const std::string& name) { return numbers<T>(block, name); };
    const std::vector<T> outer = weight("outer.weight");
    const std::vector<T> center = weight("interaction.center.weight");
    const auto F = static_cast<std::int64_t>(weight("outer.bias").size());
    const auto F_in = static_cast<std::int64_t>(center.size()) / F;
    const std::int64_t W = padded_to(F, kernels.panel);
    w.of_species = first;
    w.width_in = F_in;
    w.width_out = F;
    w.padded = W;
    w.n_components = (l_max + 1) * (l_max + 1);
    w.cutoff = static_cast<T>(cutoff);
    w.cusp = static_cast<T>(cusp);
    set_sensitivities(weight("interaction.sensitivities.mu"),
                      weight("interaction.sensitivities.sigma"), cutoff);

    // V, its sensitivities in our order.
    const std::vector<T> V = weight("interaction.neighbors.weight");
    const std::int64_t S = w.n_sensitivities;
    const std::int64_t SP = w.padded_sensitivities;
    const auto V_of = [&](std::int64_t f, std::int64_t s, std::int64_t f_in) {
      return V[(f * S + order_[s]) * F_in + f_in];
    };
    if (first) {
      const auto at = [&](std::int64_t row, std::int64_t f) {
        return f < F && row % SP < S ? V_of(f, row % SP, row / SP) : T(0);
      };
      w.mix = kept_.pack(F_in * SP, W, at);
      w.mix_transposed =
          kept_.pack(W, F_in * SP, [&](auto k, auto n) { return n < F_in * SP ? at(n, k) : T(0); });
    } else {
      const auto at = [&](std::int64_t f_in, std::int64_t column) {
        return column % W < F ? V_of(column % W, column / W, f_in) : T(0);
      };
      w.mix = kept_.pack(F_in, S * W, at);
      w.mix_transposed =
          kept_.pack(S * W, F_in, [&](auto k, auto n) { return n < F_in ? at(n, k) : T(0); });
    }

    w.tensor_scales = rows(weight("interaction.tensor_scales"), l_max, F);
    w.outer_bias = rows(weight("outer.bias"), 1, F);
    w.outer = linear(outer, F, F, false);
    w.outer_transposed = linear(outer, F, F, true);
    const bool skips = block.attr("skip").toModule().hasattr("weight");
    const std::vector<T> skip = skips ? weight("skip.weight") : std::vector<T>();
    const std::vector<T> center_bias = weight("interaction.center.bias");
    if (first) {
      // One-hot features pick a column.
      std::vector<T> center_rows(F_in * F), skip_rows(F_in * F, T(0));
      for (std::int64_t s = 0; s < F_in; ++s)
        for (std::int64_t f = 0; f < F; ++f) {
          center_rows[s * F + f] = center[f * F_in + s] + center_bias[f];
          skip_rows[s * F + f] = skips ? skip[f * F_in + s] : T(s == f);
        }
      w.center_rows = rows(center_rows, F_in, F);
      w.skip_rows = rows(skip_rows, F_in, F);
    } else {
      w.center_bias = rows(center_bias, 1, F);
      w.center = linear(center, F, F_in, false, true);
      w.center_transposed = linear(center, F, F_in, true, true);
      if (skips) {
        w.skip = linear(skip, F, F_in, false, true);
        w.skip_transposed = linear(skip, F, F_in, true, true);
      }
    }
    for (const auto& layer : block.attr("atom_layers").toModule().children()) {
      const auto inner = numbers<T>(layer, "inner.weight");
      const auto outer_layer = numbers<T>(layer, "outer.weight");
      layers_.push_back({linear(inner, F, F, false), linear(inner, F, F, true),
                         linear(outer_layer, F, F, false), linear(outer_layer, F, F, true),
                         rows(numbers<T>(layer, "inner.bias"), 1, F),
                         rows(numbers<T>(layer, "outer.bias"), 1, F)});
    }
    w.layers = layers_.data();
    w.n_layers = static_cast<std::int64_t>(layers_.size());
    w.energy = rows(weight("energy.weight"), 1, F);
    w.energy_bias = weight("energy.bias")[0];
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

  // Ascending in 1/mu, so that those which a distance excites are neighbours; and for bins of the
  // distance, which they are.
  void set_sensitivities(const std::vector<T>& mu, const std::vector<T>& sigma, double cutoff) {
    const auto n = static_cast<std::int64_t>(mu.size());
    order_.resize(n);
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(),
              [&](auto a, auto b) { return T(1) / mu[a] < T(1) / mu[b]; });
    w.n_sensitivities = n;
    w.padded_sensitivities = padded_to(n, kernels_.lanes);
    std::vector<T> inverse(w.padded_sensitivities, T(0)), width(w.padded_sensitivities, T(0));
    for (std::int64_t s = 0; s < n; ++s) {
      inverse[s] = T(1) / mu[order_[s]];
      width[s] = sigma[order_[s]];
    }
    // Where exp(-x²/2) is below a quarter of the rounding error of one.
    const double limit =
        std::sqrt(-2.0 * std::log(0.25 * static_cast<double>(std::numeric_limits<T>::epsilon())));
    window_begin_.assign(kWindowBins, static_cast<std::int16_t>(n));
    window_end_.assign(kWindowBins, 0);
    for (std::int64_t bin = 0; bin < kWindowBins; ++bin) {
      // A little wider than the bin: its index is rounded in precision T.
      const double near = cutoff * (bin - 0.01) / kWindowBins;
      const double far = cutoff * (bin + 1.01) / kWindowBins;
      for (std::int64_t s = 0; s < n; ++s) {
        const double reach = limit / std::max(std::abs(static_cast<double>(width[s])), 1e-300);
        const double center = static_cast<double>(inverse[s]);
        const bool too_far = 1.0 / far > center + reach;
        const bool too_near = near > 0.0 && 1.0 / near < center - reach;
        if (too_far || too_near) continue;
        window_begin_[bin] =
            std::min<std::int16_t>(window_begin_[bin], static_cast<std::int16_t>(s));
        window_end_[bin] = static_cast<std::int16_t>(s + 1);
      }
      if (window_end_[bin] == 0) window_begin_[bin] = 0;
    }
    reach_ = window_end_;
    for (std::int64_t bin = kWindowBins - 1; bin-- > 0;)
      reach_[bin] = std::max(reach_[bin], reach_[bin + 1]);
    w.inverse_mu = kept_.keep(std::move(inverse));
    w.sigma = kept_.keep(std::move(width));
    w.window_begin = window_begin_.data();
    w.window_end = window_end_.data();
  }

  const HipnnKernels<T>& kernels_;
  std::vector<std::int64_t> order_;
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
      data_.reset();
      data_.reset(new T[n]);
      size_ = n;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

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
  HipnnNetwork(const torch::jit::Module& module, std::int64_t block)
      : kernels_(hipnn_kernels<T>()), block_(block) {
    const auto l_max = module.attr("l_max").toInt();
    const double cutoff = module.attr("cutoff").toDouble();
    for (const auto& part : module.attr("blocks").toModule().children()) {
      const double cusp = find(part, "interaction.cusp").toDouble();
      stages_.push_back(
          std::make_unique<Stage<T>>(part, l_max, cutoff, cusp, stages_.empty(), kernels_));
    }
    mixed_.resize(stages_.size());
    q_.resize(stages_.size());
    for (const auto& stage : stages_)
      row_size_ = std::max(row_size_, stage->w.n_sensitivities * stage->w.padded);
    reference_ = numbers<double>(module, "reference_energies");
    if (!module.attr("zbl").isNone()) repulsion_.emplace(module.attr("zbl").toModule());
    if (module.hasattr("uncertainty_head") && !module.attr("uncertainty_head").isNone()) {
      std::vector<std::int64_t> widths;
      for (const auto& stage : stages_) widths.push_back(stage->w.width_out);
      head_ = std::make_unique<UncertaintyHead<T>>(module.attr("uncertainty_head").toModule(),
                                                   widths, kernels_);
    }
  }

  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) override {
    torch::NoGradGuard no_grad;
    set_pairs(graph, exchange.is_needed());
    const std::int64_t n = graph.n_centers();
    const auto options = torch::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value);
    torch::Tensor energies = torch::empty({n}, torch::kFloat64);
    torch::Tensor gradients = make_gradients();
    energies_ = energies.template mutable_data_ptr<double>();
    seeds_.assign(n, 0.0);
    std::fill_n(seeds_.begin(), graph.n_owned, 1.0);
    for (std::int64_t i = 0; i < n; ++i) energies_[i] = reference_[species_[i]];
    // Where nothing is added to them before, they are cleared on the way, while in the cache.
    const bool cleared = several() || repulsion_;
    if (cleared)
      parallel(n, [&](std::int64_t begin, std::int64_t end) { clear_gradients(begin, end); });
    if (repulsion_) {
      parallel(n, [&](std::int64_t begin, std::int64_t end) {
        repulsion_->add(offsets_, pairs_.of_centers.others, pairs_.vectors, species_, seeds_.data(),
                        begin, end, energies_, gradients_);
      });
    }

    const bool with_uncertainty = graph.with_uncertainty && head_ != nullptr;
    torch::Tensor features_out;  // that leave the last interaction, where somebody reads them
    if (with_uncertainty) features_out = torch::empty({n, stages_.back()->w.width_out}, options);
    T* const read_features =
        with_uncertainty ? features_out.template mutable_data_ptr<T>() : nullptr;

    if (!several()) {
      each_chunk(0, n, [&](std::int64_t begin, std::int64_t end) {
        if (!cleared) clear_gradients(begin, end);
        kernels_.evaluate_alone(stages_[0]->w, pairs_, species_, seeds_.data(), begin, end,
                                energies_, gradients_, read_features);
      });
      return {energies.narrow(0, 0, graph.n_owned), gradients, read_uncertainty({}, read_features)};
    }
    const std::size_t last = stages_.size() - 1;
    std::vector<torch::Tensor> features(stages_.size());  // that enter each interaction
    for (std::size_t k = 0; k < last; ++k) {
      const auto& w = stages_[k]->w;
      features[k + 1] = torch::empty({n, w.width_out}, options);
      T* const to = features[k + 1].template mutable_data_ptr<T>();
      sum_messages(
          k, rows(features[k]), exchange, [&](std::int64_t begin, std::int64_t end, T* mixed) {
            kernels_.activate(w, species_, rows(features[k]), mixed, begin, end, to, energies_);
          });
    }

    torch::Tensor gradient_out;  // dE/d(features that leave), [n_centers, F]
    for (std::size_t k = last + 1; k-- > 0;) {
      const auto& w = stages_[k]->w;
      torch::Tensor gradient_in;  // dE/d(features that enter), [n_centers, F_in]
      if (k > 0) gradient_in = torch::empty({n, w.width_in}, options);
      T* const to = k > 0 ? gradient_in.template mutable_data_ptr<T>() : nullptr;
      const auto back = [&](std::int64_t begin, std::int64_t end, T* mixed) {
        kernels_.backpropagate(w, species_, rows(features[k]), seeds_.data(), rows(gradient_out),
                               begin, end, mixed, k == last ? energies_ : nullptr, to,
                               k == last ? read_features : nullptr);
        if (k == 0)
          kernels_.differentiate(w, pairs_, species_, nullptr, nullptr, mixed, nullptr, nullptr,
                                 begin, end, gradients_, nullptr);
      };
      if (k == last)
        sum_messages(k, rows(features[k]), exchange, back);
      else
        each_center(k, back);
      if (k == 0) break;
      torch::Tensor sums = message_sums(k);
      exchange.copy_to_ghosts(sums);  // dE/dA, which has taken the place of A
      differentiate(k, rows(features[k]), to);
      gradient_out = gradient_in;
    }
    return {energies.narrow(0, 0, graph.n_owned), gradients,
            read_uncertainty(features, read_features)};
  }

  std::int64_t exchange_width() const override {
    std::int64_t widest = 0;
    for (std::size_t k = 1; k < stages_.size(); ++k) widest = std::max(widest, sums_size(k));
    return widest;
  }

 private:
  template <class Run>
  static void parallel(std::int64_t n, Run run) {
    at::parallel_for(0, n, kChunk, [&](std::int64_t begin, std::int64_t end) { run(begin, end); });
  }

  // Chunks small enough that what is computed of one stays in the cache. A thread takes the next
  // when it is done with one: cores are not equally fast where they are shared with others. Who
  // takes which does not matter, because chunks write to places of their own.
  template <class Run>
  static void each_chunk(std::int64_t first, std::int64_t end, Run run) {
    const std::int64_t n_chunks = (end - first + kChunk - 1) / kChunk;
    std::atomic<std::int64_t> next{0};
    const auto work = [&](std::int64_t, std::int64_t) {
      for (std::int64_t chunk = next++; chunk < n_chunks; chunk = next++) {
        const std::int64_t begin = first + chunk * kChunk;
        run(begin, std::min(begin + kChunk, end));
      }
    };
    at::parallel_for(0, std::min<std::int64_t>(at::get_num_threads(), n_chunks), 1, work);
  }

  static const T* rows(const torch::Tensor& tensor) {
    return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
  }

  // dE/d(pair vector) of all pairs, not set. The caller keeps it, and drops it before the next
  // evaluation as a rule: the memory comes back.
  torch::Tensor make_gradients() {
    auto* const owned = new Buffer<double>(3 * n_pairs_, pool_);
    pool_->set_limit(owned->capacity_in_bytes());
    gradients_ = owned->data();
    return torch::from_blob(
        gradients_, {n_pairs_, 3}, [owned](void*) { delete owned; }, torch::kFloat64);
  }

  void clear_gradients(std::int64_t begin, std::int64_t end) {
    std::fill(gradients_ + 3 * offsets_[begin], gradients_ + 3 * offsets_[end], 0.0);
  }

  bool several() const { return stages_.size() > 1; }

  // entering: features that enter each interaction, of which those of the first are not read.
  // leaving: the last one; null: nothing is asked for.
  torch::Tensor read_uncertainty(const std::vector<torch::Tensor>& entering,
                                 const T* leaving) const {
    if (leaving == nullptr) return {};
    std::vector<const T*> features;
    for (std::size_t k = 1; k < entering.size(); ++k) features.push_back(rows(entering[k]));
    features.push_back(leaving);
    torch::Tensor found = torch::empty({graph_.n_owned}, torch::kFloat64);
    double* const to = found.mutable_data_ptr<double>();
    each_chunk(0, graph_.n_owned, [&](std::int64_t begin, std::int64_t end) {
      head_->read(features, begin, end, to);
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
    graph_.species = graph.species.contiguous();
    graph_.offsets = graph.offsets.contiguous();
    graph_.neighbors = graph.neighbors.contiguous();
    graph_.pair_vectors = graph.pair_vectors.contiguous();
    species_ = graph_.species.template const_data_ptr<std::int64_t>();
    n_atoms_ = graph_.species.size(0);
    n_pairs_ = graph_.neighbors.size(0);
    offsets_ = graph_.offsets.template const_data_ptr<std::int64_t>();
    neighbors_ = graph_.neighbors.template const_data_ptr<std::int64_t>();
    pairs_ = {graph_.pair_vectors.template const_data_ptr<double>(),
              1.0,
              {offsets_, nullptr, neighbors_},
              {}};
    if (!several()) return;
    find_columns();
    centers_ = graph_.centers();
    pairs_.of_neighbors = {columns_.data(), by_neighbor_.data(),
                           centers_.template const_data_ptr<std::int64_t>()};
    later_ = has_ghosts ? StagePairs{pairs_.vectors, -1.0, pairs_.of_neighbors, pairs_.of_centers}
                        : pairs_;
    find_senders(graph_.n_centers());
  }

  void find_columns() {
    columns_.assign(n_atoms_ + 1, 0);
    for (std::int64_t p = 0; p < n_pairs_; ++p) ++columns_[neighbors_[p] + 1];
    std::partial_sum(columns_.begin(), columns_.end(), columns_.begin());
    std::int64_t* const by_neighbor = by_neighbor_.reserve(n_pairs_);
    std::vector<std::int64_t> next(columns_.begin(), columns_.end() - 1);
    for (std::int64_t p = 0; p < n_pairs_; ++p) by_neighbor[next[neighbors_[p]]++] = p;
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
  torch::Tensor message_sums(std::size_t k) {
    const std::int64_t size = sums_size(k);
    return torch::from_blob(mixed_[k].reserve(n_atoms_ * size), {n_atoms_, size},
                            c10::CppTypeToScalarType<T>::value);
  }

  // `act(begin, end, sums)` on all that are evaluated.
  template <class Act>
  void each_center(std::size_t k, Act act) {
    each_chunk(0, graph_.n_centers(), [&](std::int64_t begin, std::int64_t end) {
      act(begin, end, mixed_[k].data() + begin * sums_size(k));
    });
  }

  // Interaction k up to the sums over neighbours; `act(begin, end, sums)` takes them from there.
  template <class Act>
  void sum_messages(std::size_t k, const T* features, GhostExchange& exchange, Act act) {
    mixed_[k].reserve((k == 0 ? graph_.n_centers() : n_atoms_) * sums_size(k));  // for the way back
    if (k == 0) return mix(k, pairs_, 0, graph_.n_centers(), act);
    if (!exchange.is_needed()) return mix_later(k, features, act);
    mix_later(k, features, [](std::int64_t, std::int64_t, T*) {});
    torch::Tensor sums = message_sums(k);
    exchange.add_from_ghosts(sums);
    each_center(k, act);
  }

  // Of a later interaction, for all atoms that are centres, in blocks.
  template <class Act>
  void mix_later(std::size_t k, const T* features, Act act) {
    const std::int64_t block = block_size();
    for (std::int64_t first = 0; first < n_atoms_; first += block) {
      const std::int64_t end = std::min(first + block, n_atoms_);
      if (block >= n_atoms_)
        project(k, features, senders_);
      else
        project(k, features, senders_to(first, end));
      mix(k, later_, first, end, act);
    }
  }

  // For the centres of a range.
  template <class Act>
  void mix(std::size_t k, const StagePairs& pairs, std::int64_t first, std::int64_t end, Act act) {
    each_chunk(first, end, [&](std::int64_t from, std::int64_t to) {
      T* const sums = mixed_[k].data() + from * sums_size(k);
      kernels_.mix(stages_[k]->w, pairs, species_, q_rows_.data(), q_[k].data(), from, to, sums);
      act(from, to, sums);
    });
  }

  // Back through the sum over neighbours of a later interaction.
  void differentiate(std::size_t k, const T* features, T* gradient_in) {
    const auto run = [&](const std::vector<std::int64_t>& atoms) {
      each_chunk(0, static_cast<std::int64_t>(atoms.size()),
                 [&](std::int64_t begin, std::int64_t end) {
                   kernels_.differentiate(stages_[k]->w, later_, species_, q_rows_.data(),
                                          q_[k].data(), mixed_[k].data(), atoms.data(),
                                          reach_.data(), begin, end, gradients_, gradient_in);
                 });
    };
    const auto block = static_cast<std::size_t>(block_size());
    if (block >= static_cast<std::size_t>(n_atoms_)) return run(senders_);  // q is still there
    for (std::size_t first = 0; first < senders_.size(); first += block) {
      const std::vector<std::int64_t> atoms(
          senders_.begin() + first, senders_.begin() + std::min(first + block, senders_.size()));
      project(k, features, atoms);
      run(atoms);
    }
  }

  void project(std::size_t k, const T* features, const std::vector<std::int64_t>& atoms) {
    const auto& w = stages_[k]->w;
    const auto n = static_cast<std::int64_t>(atoms.size());
    T* const q = q_[k].reserve(n * w.n_sensitivities * w.padded);
    q_rows_.resize(n_atoms_);
    for (std::int64_t row = 0; row < n; ++row) q_rows_[atoms[row]] = row;
    each_chunk(0, n, [&](std::int64_t begin, std::int64_t end) {
      kernels_.project(w, features, atoms.data(), begin, end, reach_.data(), q_rows_.data(), q);
    });
  }

  // The neighbours of the centres of a range.
  std::vector<std::int64_t> senders_to(std::int64_t first, std::int64_t end) {
    const AtomPairs& rows = later_.of_centers;
    std::vector<bool> marked(n_atoms_, false);
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
    if (block_ > 0) return block_;
    const std::int64_t most = kMostBytes / (row_size_ * static_cast<std::int64_t>(sizeof(T)));
    // A block reaches out to several times its own size.
    return static_cast<std::int64_t>(senders_.size()) <= most ? std::max<std::int64_t>(1, n_atoms_)
                                                              : std::max<std::int64_t>(1, most / 4);
  }

  const HipnnKernels<T>& kernels_;
  std::int64_t block_;
  std::vector<std::unique_ptr<Stage<T>>> stages_;
  std::int64_t row_size_ = 1;  // of q
  std::vector<double> reference_;
  std::optional<Repulsion> repulsion_;
  std::unique_ptr<UncertaintyHead<T>> head_;  // null: there is none

  // Of the evaluation that is under way.
  AtomGraph graph_;
  torch::Tensor centers_;  // [n_pairs], for later interactions
  const std::int64_t* offsets_ = nullptr;
  const std::int64_t* neighbors_ = nullptr;
  StagePairs pairs_{};
  StagePairs later_{};  // as later interactions read them
  std::int64_t n_atoms_ = 0;
  std::int64_t n_pairs_ = 0;
  const std::int64_t* species_ = nullptr;
  double* energies_ = nullptr;
  double* gradients_ = nullptr;
  // Keeps the memory of one array of gradients from one evaluation to the next.
  std::shared_ptr<BlockPool> pool_ = std::make_shared<BlockPool>(0);
  std::vector<double> seeds_;
  std::vector<std::int64_t> columns_;
  Workspace<std::int64_t> by_neighbor_;
  std::vector<std::int16_t> reach_;      // [n_centers]
  std::vector<std::int64_t> senders_;    // atoms that are neighbours of any, later interactions
  std::vector<std::int64_t> q_rows_;     // [n_atoms]
  std::vector<Workspace<T>> mixed_, q_;  // by interaction
};

}  // namespace

bool is_hipnn(const torch::jit::Module& module) {
  const auto name = module.type()->name();
  if (!name) return false;
  const std::string& full = name->qualifiedName();
  return full.find("ekd.models.hipnn.") != std::string::npos && name->name() == "HIPNN";
}

std::unique_ptr<Network> make_hipnn_network(const torch::jit::Module& module,
                                            torch::ScalarType dtype, std::int64_t block) {
  if (dtype == torch::kFloat32) return std::make_unique<HipnnNetwork<float>>(module, block);
  return std::make_unique<HipnnNetwork<double>>(module, block);
}

}  // namespace ekd
