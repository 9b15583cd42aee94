// Compiled once per instruction set, see simd.hpp; the header describes the computations.
#include "ekd/hipnn_kernels.hpp"

#include "later_interaction.hpp"
#include "layers.hpp"
#include "pairs.hpp"
#include "simd.hpp"
#include "species_interaction.hpp"
#include "tiles.hpp"

namespace {

// ---- all of a network with one interaction ---------------------------------------------------

// The geometry of pairs is computed once in the forward pass and reused in the backward pass. The
// number of centers per batch is small enough for it to stay in the cache.
constexpr std::int64_t kCentersTogether = 16;

template <class T, int C>
void evaluate_species(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                      const double* seeds, std::int64_t begin, std::int64_t end, double* energies,
                      double* pair_gradients, T* features_out) {
  const std::int64_t depth = w.mix.rows;
  const std::int64_t stride = w.mix_transposed.columns;
  const std::int64_t room = whole_vectors<T>(most_pairs(pairs.of_centers.offsets, begin, end));
  Scratch<T> messages(kCentersTogether * C * (depth > stride ? depth : stride));
  Scratch<T> mixed(kCentersTogether * C * w.padded);
  PairScratch<T> scratch(w, kCentersTogether * room);
  for (std::int64_t tile = begin; tile < end; tile += kCentersTogether) {
    const std::int64_t rows = least(kCentersTogether, end - tile);
    std::memset(messages, 0, sizeof(T) * rows * C * depth);
    std::int64_t at = 0;
    for (std::int64_t i = tile; i < tile + rows; ++i) {
      const std::int64_t first = pairs.of_centers.offsets[i];
      const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
      describe_pairs<T, C, true>(
          w, pairs.vectors, 1.0, n, [=](std::int64_t k) { return first + k; }, scratch, at);
      add_messages<T, C>(w, scratch, at, pairs.of_centers.others + first, n, species,
                         messages + (i - tile) * C * depth);
      at += whole_vectors<T>(n);
    }
    multiply<T>(rows * C, messages, depth, w.mix, mixed, w.padded);
    backpropagate<T>(w, species, nullptr, seeds, nullptr, tile, tile + rows, mixed, energies,
                     nullptr, features_out);
    multiply<T>(rows * C, mixed, w.padded, w.mix_transposed, messages, stride);
    at = 0;
    for (std::int64_t i = tile; i < tile + rows; ++i) {
      const std::int64_t first = pairs.of_centers.offsets[i];
      const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
      differentiate_messages<T, C>(w, scratch, at, pairs.of_centers.others + first, n, species,
                                   messages + (i - tile) * C * stride);
      add_pair_gradients<T, C>(
          scratch, 1.0, n, [=](std::int64_t k) { return first + k; }, pair_gradients, at);
      at += whole_vectors<T>(n);
    }
  }
}

template <class T>
void evaluate_alone(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                    const double* seeds, std::int64_t begin, std::int64_t end, double* energies,
                    double* pair_gradients, T* features_out) {
  const auto run = [&](auto of_species) {
    of_species(w, pairs, species, seeds, begin, end, energies, pair_gradients, features_out);
  };
  if (w.n_components == 1) run(evaluate_species<T, 1>);
  if (w.n_components == 4) run(evaluate_species<T, 4>);
  if (w.n_components == 9) run(evaluate_species<T, 9>);
}

// ---- the uncertainty of the forces ------------------------------------------------------------

template <class T>
void read_uncertainty(const ekd::UncertaintyWeights<T>& w, const T* const* features,
                      std::int64_t begin, std::int64_t end, double* uncertainty) {
  const std::int64_t H = w.second.columns;
  Scratch<T> entering(kTile * H);
  Scratch<T> hidden(kTile * H);
  Scratch<double> found(kTile);
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t rows = least(kTile, end - tile);
    for (std::int64_t level = 0; level < w.n_levels; ++level) {
      const auto& matrix = w.first[level];
      multiply<T>(rows, features[level] + tile * matrix.rows, matrix.rows, matrix, entering, H,
                  level == 0 ? w.first_bias : nullptr, level == 0 ? Into::kOverwrite : Into::kAdd);
    }
    apply_softplus<T>(entering, rows * H, nullptr);
    multiply<T>(rows, entering, H, w.second, hidden, H, w.second_bias);
    apply_softplus<T>(hidden, rows * H, nullptr);
    for (std::int64_t row = 0; row < rows; ++row) {
      Vector<T> total{};
      for (std::int64_t f = 0; f < H; f += kLanes<T>)
        total += load(hidden + row * H + f) * load(w.readout + f);
      found[row] = static_cast<double>(sum<T>(total) + w.readout_bias);
    }
    for (std::int64_t row = rows; row < kTile; ++row) found[row] = 0.0;
    apply_softplus<double>(found, kTile, nullptr);  // whole vectors
    std::memcpy(uncertainty + tile, found, sizeof(double) * rows);
  }
}

// ---- the table ------------------------------------------------------------------------------

template <class T>
void mix(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
         const std::int64_t* q_rows, const T* q, std::int64_t begin, std::int64_t end, T* mixed) {
  const auto run = [&](auto of_species, auto of_features) {
    if (w.of_species)
      of_species(w, pairs, species, begin, end, mixed);
    else
      of_features(w, pairs, q_rows, q, begin, end, mixed);
  };
  if (w.n_components == 1) run(mix_species<T, 1>, mix_neighbors<T, 1>);
  if (w.n_components == 4) run(mix_species<T, 4>, mix_neighbors<T, 4>);
  if (w.n_components == 9) run(mix_species<T, 9>, mix_neighbors<T, 9>);
}

template <class T>
void differentiate(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                   const std::int64_t* q_rows, const T* q, const T* gradient,
                   const std::int64_t* atoms, const std::int16_t* reach, std::int64_t begin,
                   std::int64_t end, double* pair_gradients, T* gradient_in) {
  const auto run = [&](auto of_species, auto of_features) {
    if (w.of_species)
      of_species(w, pairs, species, gradient, begin, end, pair_gradients);
    else
      of_features(w, pairs, q_rows, q, gradient, atoms, reach, begin, end, pair_gradients,
                  gradient_in);
  };
  if (w.n_components == 1) run(differentiate_species<T, 1>, differentiate_neighbors<T, 1>);
  if (w.n_components == 4) run(differentiate_species<T, 4>, differentiate_neighbors<T, 4>);
  if (w.n_components == 9) run(differentiate_species<T, 9>, differentiate_neighbors<T, 9>);
}

}  // namespace

// Constants, so no code of this file runs before its instruction set has been selected.
#define EKD_JOIN(a, b) a##b
#define EKD_NAME(prefix, isa) EKD_JOIN(prefix, isa)
#define EKD_TEXT(isa) EKD_QUOTED(isa)
#define EKD_QUOTED(isa) #isa
#define EKD_TABLE(T, prefix)                                   \
  extern const HipnnKernels<T> EKD_NAME(prefix, EKD_ISA);      \
  constinit const HipnnKernels<T> EKD_NAME(prefix, EKD_ISA){   \
      EKD_TEXT(EKD_ISA),  kLanes<T>,        kPanel<T>,         \
      project<T>,         mix<T>,           activate<T>,       \
      backpropagate<T>,   differentiate<T>, evaluate_alone<T>, \
      read_uncertainty<T>};

namespace ekd {
EKD_TABLE(float, hipnn_float_)
EKD_TABLE(double, hipnn_double_)
}  // namespace ekd
