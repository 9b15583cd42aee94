// One interaction of HIP-NN-TS with its atom layers: energies, and gradients without an autograd
// tape. The formulas are in python/ekd/models/interaction.py. No torch here.
//
// For later interactions, the sum over neighbors is ordered to need the fewest operations: first
// q_j = V z_j, once per atom, for all sensitivities; then, for each pair, t = sum_v s_v(r) q_jv,
// and t Y_c is added to the rows of the center. A sensitivity is a narrow peak, so only a few of
// them contribute to a pair: sorted by distance, they are a window v_begin .. v_end. Terms outside
// of it are below the rounding error of the sum. The first interaction depends only on species: it
// adds s Y to one row per species, and applies V afterwards.
//
//   project          q                                          later interactions
//   mix              A_c = sum_p Y_c sum_v s_v q_jv
//   activate         A, z -> features, energies
//   backpropagate    A, z, gradients -> dE/dA (in place of A), dE/dz of the center
//   differentiate    dE/dA -> dE/d(pair vector), dE/dz of the neighbors
//   evaluate_alone   all steps, for networks with one interaction
//   read_uncertainty output features of all interactions -> uncertainty
//
// All arrays are dense and row-major. Functions take a range, begin .. end - 1. Different ranges
// write to different memory, so several threads can work on different ranges.
#pragma once

#include <cstdint>

namespace ekd {

constexpr int kMaxComponents = 9;  // components of tensors of ranks 0 to 2
constexpr int kWindowBins = 1024;  // distance bins in the table of windows

// The pairs of each atom as center, or of each atom as neighbor.
struct AtomPairs {
  const std::int64_t* offsets;  // [n + 1]: the pairs of atom i are offsets[i] .. offsets[i + 1] - 1
  const std::int64_t* order;    // [n_pairs]: indices of the pairs; null: in order
  const std::int64_t* others;   // [n_pairs]: the other atom of a pair
};

// The pairs of a process. In the reverse direction, neighbors become centers, and the sign of the
// vectors is -1.
struct StagePairs {
  const double* vectors;  // [n_pairs, 3], Å; times the sign, from the center to the neighbor
  double sign;
  AtomPairs of_centers;    // for the interaction of species in order, with the sign 1
  AtomPairs of_neighbors;  // not used by the interaction of species
};

// A matrix packed for HipnnKernels: panels of `panel` columns, each stored row by row. Products sum
// over rows.
template <class T>
struct PackedMatrix {
  const T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // a multiple of the panel, padded with zeros
};

template <class T>
struct AtomLayerWeights {
  PackedMatrix<T> inner, inner_transposed, outer, outer_transposed;
  const T* inner_bias;
  const T* outer_bias;
};

// Widths: F_in input features, F output features; internal rows have W columns, F padded to panels.
template <class T>
struct StageWeights {
  bool of_species;  // the first interaction, whose input is one-hot species
  std::int64_t width_in, width_out, padded;
  std::int64_t n_components;  // 1, 4 or 9
  std::int64_t n_layers;

  // Sensitivities, ascending in 1/mu, padded to whole vectors with zeros.
  std::int64_t n_sensitivities, padded_sensitivities;
  const T* inverse_mu;
  const T* sigma;
  T cutoff, cusp;
  const std::int16_t* window_begin;  // [kWindowBins], bins of r / cutoff
  const std::int16_t* window_end;

  // V. Later interactions: rows F_in, columns (sensitivity, W); transposed: rows (sensitivity, W),
  // columns F_in. First interaction: rows (species, padded sensitivity), columns W; and transposed.
  PackedMatrix<T> mix, mix_transposed;
  // Weights of the center and of the skip connection (absent: identity). First: tables of rows.
  PackedMatrix<T> center, center_transposed, skip, skip_transposed;
  const T* center_bias;
  const T* center_rows;    // [n_species, W], including bias
  const T* skip_rows;      // [n_species, W]
  const T* tensor_scales;  // [l_max, W]
  PackedMatrix<T> outer, outer_transposed;
  const T* outer_bias;
  const AtomLayerWeights<T>* layers;
  const T* energy;  // [W]
  T energy_bias;
};

// The head for the uncertainty of the forces: two hidden layers with H features.
template <class T>
struct UncertaintyWeights {
  std::int64_t n_levels = 0;               // 0: there is no head
  const PackedMatrix<T>* first = nullptr;  // [n_levels], rows F, columns H
  const T* first_bias = nullptr;           // [H], like the next two padded to the columns
  PackedMatrix<T> second;                  // rows H, padded with zeros, columns H
  const T* second_bias = nullptr;          // [H]
  const T* readout = nullptr;              // [H], padded with zeros
  T readout_bias = 0;
};

template <class T>
struct HipnnKernels {
  const char* instruction_set;
  std::int64_t lanes;  // numbers per SIMD vector
  std::int64_t panel;  // columns per panel

  // features [n_atoms, F_in] -> q [rows, n_sensitivities, W]: for k in the range, q of `atoms[k]`
  // is stored in row q_rows[atoms[k]]. Only its sensitivities below reach[atoms[k]] are computed.
  void (*project)(const StageWeights<T>&, const T* features, const std::int64_t* atoms,
                  std::int64_t begin, std::int64_t end, const std::int16_t* reach,
                  const std::int64_t* q_rows, T* q);

  // mixed [end - begin, n_components, W]: sums of the centers in the range. The first interaction
  // uses species instead of q.
  void (*mix)(const StageWeights<T>&, const StagePairs&, const std::int64_t* species,
              const std::int64_t* q_rows, const T* q, std::int64_t begin, std::int64_t end,
              T* mixed);

  // features_out [n_centers, F]; energies [n_centers] are accumulated. mixed as above.
  void (*activate)(const StageWeights<T>&, const std::int64_t* species, const T* features,
                   const T* mixed, std::int64_t begin, std::int64_t end, T* features_out,
                   double* energies);

  // With seeds [n_centers] (dE/d energy of the atom) and gradient_out [n_centers, F] (null: none):
  // overwrites mixed with dE/d mixed; sets gradient_in [n_centers, F_in] and features_out
  // [n_centers, F], and accumulates energies, unless they are null.
  void (*backpropagate)(const StageWeights<T>&, const std::int64_t* species, const T* features,
                        const double* seeds, const T* gradient_out, std::int64_t begin,
                        std::int64_t end, T* mixed, double* energies, T* gradient_in,
                        T* features_out);

  // Accumulates pair_gradients [n_pairs, 3]. First interaction: the range refers to centers,
  // gradient is dE/d mixed of these, and other arguments are unused. Later ones: the range refers
  // to `atoms`, which are neighbors, gradient [n_centers, n_components, W] is that of all centers,
  // and gradient_in [n_atoms, F_in] of these neighbors is accumulated.
  void (*differentiate)(const StageWeights<T>&, const StagePairs&, const std::int64_t* species,
                        const std::int64_t* q_rows, const T* q, const T* gradient,
                        const std::int64_t* atoms, const std::int16_t* reach, std::int64_t begin,
                        std::int64_t end, double* pair_gradients, T* gradient_in);

  // For networks with one interaction: mix, backpropagate and differentiate fused, for the centers
  // in the range. energies and pair_gradients are accumulated, features_out [n_centers, F] (if not
  // null) is set.
  void (*evaluate_alone)(const StageWeights<T>&, const StagePairs&, const std::int64_t* species,
                         const double* seeds, std::int64_t begin, std::int64_t end,
                         double* energies, double* pair_gradients, T* features_out);

  // uncertainty [n_centers] from the output features [>= n_centers, F] of each interaction.
  void (*read_uncertainty)(const UncertaintyWeights<T>&, const T* const* features,
                           std::int64_t begin, std::int64_t end, double* uncertainty);
};

// The kernels for the best instruction set of this processor, or for the one given in the
// environment variable EKD_SIMD (avx512, avx2, portable), for tests.
template <class T>
const HipnnKernels<T>& hipnn_kernels();

}  // namespace ekd
