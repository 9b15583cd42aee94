// List of all kernels, for the program of a device and its host emulation.
//
// EKD_EACH_KERNEL(K) expands to K(name, argument type, call) for each kernel. T is the
// precision, C the number of tensor components, `block` the threads and `a` the argument.
#pragma once

#include "later_interaction.hpp"
#include "repulsion.hpp"
#include "species_interaction.hpp"
#include "uncertainty.hpp"

namespace ekd::device {

template <class T>
struct PairsAndRepulsion {
  Arguments<T> pairs;
  RepulsionArguments repulsion;
};

// clang-format off
#define EKD_EACH_KERNEL(K)                                                                 \
  K(find_pairs, Arguments<T>, (find_pairs(block, a)))                                      \
  K(evaluate_alone, Arguments<T>, (evaluate_alone<T, C>(block, a)))                        \
  K(mix_species, Arguments<T>, (mix_species<T, C>(block, a)))                              \
  K(differentiate_species, Arguments<T>, (differentiate_species<T, C>(block, a)))          \
  K(mix_features, Arguments<T>, (mix_features<T, C>(block, a)))                            \
  K(differentiate_features, Arguments<T>, (differentiate_features<T, C>(block, a)))        \
  K(activate, Arguments<T>, (activate<T, C>(block, a, false)))                             \
  K(backpropagate, Arguments<T>, (activate<T, C>(block, a, true)))                         \
  K(product, ProductArguments<T>, (product(block, a)))                                     \
  K(repel, PairsAndRepulsion<T>, (repel(block, a.pairs, a.repulsion)))                     \
  K(read_uncertainty, UncertaintyArguments<T>, (read_uncertainty(block, a)))               \
  K(add_virials, VirialArguments, (add_virials(block, a)))                                 \
  K(convert_forces, FixedPointArguments, (convert_forces(block, a)))
// clang-format on

}  // namespace ekd::device
