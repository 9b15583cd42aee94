// One interaction of HIP-NN-TS and the atom layers behind it: energies, and gradients without an
// autograd tape. The formulas are those of python/ekd/models/interaction.py. No torch here.
//
// The sum over neighbours of a later interaction is taken in the order that needs the fewest
// operations: first q_j = V z_j, once per atom, for all sensitivities; then, for each pair,
// t = sum_v s_v(r) q_jv, and t Y_c into the rows of the centre. A sensitivity is a narrow bell, so
// a pair feels only a few of them: sorted by distance, these are a window v_begin .. v_end. Terms
// outside it are below the rounding of the sum. The first interaction sees species alone: it adds
// s Y to a row per species, and applies V after.
//
//   project          q                                          later interactions
//   mix              A_c = sum_p Y_c sum_v s_v q_jv
//   activate         A, z -> features, energies
//   backpropagate    A, z, gradients -> dE/dA (in its place), dE/dz of the centre
//   differentiate    dE/dA -> dE/d(pair vector), dE/dz of the neighbours
//   evaluate_alone   all of it, where there is one interaction
//   read_uncertainty features that leave all interactions -> uncertainty
//
// All arrays are dense and row-major. Functions take a range, begin .. end - 1, share no writing
// between ranges, and may therefore run on several threads, each on a range of its own.
#pragma once

#include <cstdint>

namespace ekd {

constexpr int kMaxComponents = 9;  // of the tensors of ranks 0 to 2
constexpr int kWindowBins = 1024;  // of distances, in the table of windows

// The pairs of each atom of one kind, centres or neighbours.
struct AtomPairs {
  const std::int64_t* offsets;  // [n + 1]: the pairs of atom i are number offsets[i] and following
  const std::int64_t* order;    // [n_pairs]: of the pairs by number; null: as they come
  const std::int64_t* others;   // [n_pairs]: the atom of the other kind of a pair
};

// The pairs of a process. Read in the other direction, what were neighbours are centres, and the
// sign of the vectors is -1.
struct StagePairs {
  const double* vectors;  // [n_pairs, 3], Å; times the sign, from the centre to the neighbour
  double sign;
  AtomPairs of_centers;    // for the interaction of species in order, with the sign 1
  AtomPairs of_neighbors;  // not used by the interaction of species
};

// A matrix packed for HipnnKernels: panels of `panel` columns, each panel row after row. Rows are
// what is summed over.
template <class T>
struct PackedMatrix {
  const T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // a multiple of the panel; those beyond the matrix are zero
};

template <class T>
struct AtomLayerWeights {
  PackedMatrix<T> inner, inner_transposed, outer, outer_transposed;
  const T* inner_bias;
  const T* outer_bias;
};

// Widths: F_in features enter, F leave; internal rows have F padded to whole panels, W of them.
template <class T>
struct StageWeights {
  bool of_species;  // the first interaction: one-hot species enter
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
  // columns F_in. Of species: rows (species, padded sensitivity), columns W; and transposed.
  PackedMatrix<T> mix, mix_transposed;
  // W of the centre, and of the skip connection (absent: identity). Of species: tables of rows.
  PackedMatrix<T> center, center_transposed, skip, skip_transposed;
  const T* center_bias;
  const T* center_rows;    // [n_species, W], bias included
  const T* skip_rows;      // [n_species, W]
  const T* tensor_scales;  // [l_max, W]
  PackedMatrix<T> outer, outer_transposed;
  const T* outer_bias;
  const AtomLayerWeights<T>* layers;
  const T* energy;  // [W]
  T energy_bias;
};

// The head that reads the uncertainty of the forces: two hidden layers, of H features.
template <class T>
struct UncertaintyWeights {
  std::int64_t n_levels = 0;               // 0: there is no head
  const PackedMatrix<T>* first = nullptr;  // [n_levels], rows F, columns H
  const T* first_bias = nullptr;           // [H], as the next two padded to the columns
  PackedMatrix<T> second;                  // rows H, padded with zeros, columns H
  const T* second_bias = nullptr;          // [H]
  const T* readout = nullptr;              // [H], padded with zeros
  T readout_bias = 0;
};

template <class T>
struct HipnnKernels {
  const char* instruction_set;
  std::int64_t lanes;  // numbers in a vector
  std::int64_t panel;  // columns of a panel

  // features [n_atoms, F_in] -> q [rows, n_sensitivities, W]: that of `atoms[k]`, for k of the
  // range, goes to row q_rows[atoms[k]]. Only its sensitivities below reach[atoms[k]] are needed.
  void (*project)(const StageWeights<T>&, const T* features, const std::int64_t* atoms,
                  std::int64_t begin, std::int64_t end, const std::int16_t* reach,
                  const std::int64_t* q_rows, T* q);

  // mixed [end - begin, n_components, W]: of the centres of the range. q of the neighbours is not
  // used by the interaction of species, species not by the others.
  void (*mix)(const StageWeights<T>&, const StagePairs&, const std::int64_t* species,
              const std::int64_t* q_rows, const T* q, std::int64_t begin, std::int64_t end,
              T* mixed);

  // features_out [n_centers, F]; energies [n_centers] are added to. mixed as above.
  void (*activate)(const StageWeights<T>&, const std::int64_t* species, const T* features,
                   const T* mixed, std::int64_t begin, std::int64_t end, T* features_out,
                   double* energies);

  // With seeds [n_centers] (dE/d energy of the atom) and gradient_out [n_centers, F] (null: none):
  // dE/d mixed takes the place of mixed, gradient_in [n_centers, F_in] (null: not wanted) is set,
  // energies (null: not wanted) are added to, features_out [n_centers, F] (null: not wanted) set.
  void (*backpropagate)(const StageWeights<T>&, const std::int64_t* species, const T* features,
                        const double* seeds, const T* gradient_out, std::int64_t begin,
                        std::int64_t end, T* mixed, double* energies, T* gradient_in,
                        T* features_out);

  // pair_gradients [n_pairs, 3] are added to. Of species: the range is of centres, gradient is
  // dE/d mixed of these, and the rest is unused. Else the range is of `atoms`, neighbours, gradient
  // [n_centers, n_components, W] that of all, and their gradient_in [n_atoms, F_in] is added to.
  void (*differentiate)(const StageWeights<T>&, const StagePairs&, const std::int64_t* species,
                        const std::int64_t* q_rows, const T* q, const T* gradient,
                        const std::int64_t* atoms, const std::int16_t* reach, std::int64_t begin,
                        std::int64_t end, double* pair_gradients, T* gradient_in);

  // All of a network whose only interaction this is, for the centres of the range: mix,
  // backpropagate and differentiate in one. energies and pair_gradients are added to,
  // features_out [n_centers, F] (null: not wanted) is set.
  void (*evaluate_alone)(const StageWeights<T>&, const StagePairs&, const std::int64_t* species,
                         const double* seeds, std::int64_t begin, std::int64_t end,
                         double* energies, double* pair_gradients, T* features_out);

  // uncertainty [n_centers], of the features [n_centers or more, F] that leave each interaction.
  void (*read_uncertainty)(const UncertaintyWeights<T>&, const T* const* features,
                           std::int64_t begin, std::int64_t end, double* uncertainty);
};

// The kernels of the best instruction set that this processor has, or of the one that the
// environment variable EKD_SIMD names (avx512, avx2, portable), for tests.
template <class T>
const HipnnKernels<T>& hipnn_kernels();

}  // namespace ekd
