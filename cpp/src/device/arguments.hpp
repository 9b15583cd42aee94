// Arguments of kernels: plain numbers and device pointers, passed by value.
#pragma once

#include "platform.hpp"

namespace ekd::device {

// A row-major matrix that rows of numbers are multiplied by from the right. Both sizes are
// multiples of four, padded with zeros.
template <class T>
struct Matrix {
  const T* data;
  int rows, columns;
};

template <class T>
struct AtomLayer {
  Matrix<T> inner, inner_transposed, outer, outer_transposed;
  const T* inner_bias;
  const T* outer_bias;
};

// One interaction with its atom layers. All feature widths are padded to multiples of four.
// Sensitivities are sorted by ascending 1/mu.
//
// A width that is the same in all interactions of a network can be a constant of the program, so
// that the compiler can unroll loops.
template <class T>
struct Interaction {
  int of_species;  // the first interaction, whose input is one-hot species
  int n_species;
  int in_width;   // input features
  int out_width;  // output and internal features
  int n_layers;
  int n_sensitivities;
  int sensitivity_width;  // padded

  const T* inverse_mu;
  const T* sigma;
  T cutoff, cusp;
  const short* window_begin;  // [kWindowBins], bins of r / cutoff: range of sensitivities to sum
  const short* window_end;

  // V. First interaction: rows (species, sensitivity). Others: rows F_in, columns (sensitivity,
  // feature) for each slice of the features.
  Matrix<T> mix, mix_transposed;
  Matrix<T> center, center_transposed, skip, skip_transposed;  // not for first; data 0: identity
  const T* center_bias;
  const T* center_rows;    // first interaction: [n_species, F], including bias
  const T* skip_rows;      // first interaction: [n_species, F]
  const T* tensor_scales;  // [l_max, F]
  Matrix<T> outer, outer_transposed;
  const T* outer_bias;
  const AtomLayer<T>* layers;
  const T* energy;
  T energy_bias;

#ifdef EKD_WIDTH
  EKD_DEVICE int width() const { return EKD_WIDTH; }
#else
  EKD_DEVICE int width() const { return out_width; }
#endif
#ifdef EKD_SENSITIVITIES
  EKD_DEVICE int sensitivities() const { return EKD_SENSITIVITIES; }
#else
  EKD_DEVICE int sensitivities() const { return n_sensitivities; }
#endif
#ifdef EKD_SENSITIVITY_WIDTH
  EKD_DEVICE int padded_sensitivities() const { return EKD_SENSITIVITY_WIDTH; }
#else
  EKD_DEVICE int padded_sensitivities() const { return sensitivity_width; }
#endif
  // Length of a tensor component of the messages in the first interaction: rows of V.
  EKD_DEVICE int depth() const { return n_species * padded_sensitivities(); }
};

constexpr int kWindowBins = 1024;

// An atom within the cutoff of another one.
template <class T>
struct alignas(16) Pair {
  T x, y, z;     // Å, from the center to it
  int neighbor;  // the atom that it is a copy of
};

// Bits of Results::status.
constexpr unsigned kOverlap = 1;   // two atoms coincide
constexpr unsigned kTooLarge = 2;  // a force does not fit into fixed-point numbers

// Fixed-point forces, with a resolution of 2^-44, do not depend on the order of additions.
constexpr double kFixedPoint = 17592186044416.0;
constexpr double kLargestFixed = 131072.0;

// Outputs that kernels accumulate. Null pointers mean that a result is not requested.
struct Results {
  double* energies;          // [n_owned]
  double* forces;            // [n_atoms, 3]
  Int64* fixed_forces;       // [n_atoms, 3], instead of forces
  double* virial;            // [n_blocks, 6]: xx, yy, zz, xy, xz, yz of each block
  double* atomic_virials;    // [n_atoms, 6]: half of each pair to each of its atoms
  double* centroid_virials;  // [n_atoms, 9]: xx, yy, zz, xy, xz, yz, yx, zx, zy, of the neighbor
  double* pair_gradients;    // [n_pairs, 3], for given pairs
  unsigned* status;
  double scale;  // factor for all results: energy unit times the weight of a member in a mean
};

template <class T>
struct Arguments {
  // Atoms. Species below 0: not an atom of the model.
  int n_atoms, n_owned;
  int first, n_centers;  // a launch evaluates the centers first .. first + n_centers - 1
  const int* species;
  const double* positions;  // [n_atoms, 3]

  // The neighbors of atom i: neighbors[i * row_stride + k * column_stride], k < counts[i], with
  // flags of LAMMPS in the highest bits.
  const int* counts;
  const int* neighbors;
  Int64 row_stride, column_stride;
  const int* owners;  // [n_atoms]: the atom that each is a copy of; null: itself
  double cutoff_squared, overlap_squared;

  // The pairs of a launch: pairs[c * pairs_stride + k], k < n_pairs[c], for its center c; or, with
  // starts, pairs[starts[i]] .. pairs[starts[i + 1] - 1] for the atom i.
  Pair<T>* pairs;
  int* n_pairs;
  int pairs_stride;
  const Int64* starts;

  Interaction<T> interaction;
  const double* reference_energies;  // [n_species]; null: added elsewhere
  int centers_per_block;

  // Arrays of all atoms, for networks with several interactions.
  const T* features_in;          // [n_atoms, F_in]
  T* features_out;               // [n_atoms, F]; null: not needed
  T* sums;                       // [n_atoms, C, F]: A, then dE/dA
  const T* gradient_out;         // [n_atoms, F]: dE/d(output features); null: none
  T* gradient_in;                // [n_atoms, F_in]; null: not needed
  T* q;                          // [n_atoms, n_sensitivities, slice]: then dE/dq
  int slice_first, slice_width;  // features of q

  Results results;

  EKD_DEVICE Int64 first_pair(int center) const {
    return starts != nullptr ? starts[center] : static_cast<Int64>(center - first) * pairs_stride;
  }
  EKD_DEVICE int pairs_of(int center) const {
    return starts != nullptr ? static_cast<int>(starts[center + 1] - starts[center])
                             : n_pairs[center - first];
  }
};

// to [n_rows, columns] = or += from [n_rows, rows] matrix.
template <class T>
struct ProductArguments {
  int n_rows;
  const T* from;
  Int64 from_stride;
  Matrix<T> matrix;
  T* to;
  Int64 to_stride;
  int adds;
};

constexpr int kMostLevels = 16;

// The head for the uncertainty of the forces.
template <class T>
struct UncertaintyArguments {
  int first, n_centers, centers_per_block, n_levels;
  const T* features[kMostLevels];  // [n_atoms, F], outputs of each interaction
  Matrix<T> first_layer[kMostLevels];
  Matrix<T> second_layer;
  const T* first_bias;
  const T* second_bias;
  const T* readout;
  T readout_bias;
  double* uncertainty;  // [n_owned], accumulated
  double scale;
};

// The screened repulsion of python/ekd/models/zbl.py.
struct RepulsionArguments {
  int n_species, n_terms;
  const double* strength;  // [n_species, n_species]
  const double* inverse_length;
  const double* range;
  const double* coefficients;  // [n_terms]
  const double* decays;
};

// The centers of a block: first .. first + rows - 1; the last block has fewer.
struct Centers {
  int first, rows;
};

template <class Arguments>
EKD_DEVICE Centers centers_of(const Block& block, const Arguments& a) {
  const int begin = block.index * a.centers_per_block;
  const int left = a.n_centers - begin;
  return {a.first + begin, left < a.centers_per_block ? left : a.centers_per_block};
}

}  // namespace ekd::device
