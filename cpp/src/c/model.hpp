// Implementation of ekd_model of the C interface.
#pragma once

#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "ekd.h"
#include "ekd/buffer.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/structure_results.hpp"

namespace ekd {

// EKD_ERROR_ARGUMENT and EKD_ERROR_UNSUPPORTED; other errors come from the core.
struct ArgumentError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct UnsupportedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws ArgumentError. `words` is the message, or a function that returns it, to save time.
template <class Words>
void require(bool holds, const Words& words) {
  if (holds) return;
  if constexpr (std::is_invocable_v<Words>)
    throw ArgumentError(words());
  else
    throw ArgumentError(words);
}

}  // namespace ekd

struct ekd_model {
 public:
  // Throws ekd::ArgumentError, and what ekd::ExportedModel does.
  ekd_model(const char* path, const ekd_options& options);

  ekd_description description() const;

  // Each throws ekd::ArgumentError, ekd::UnsupportedError, ekd::StructureError.
  void evaluate(std::int64_t n_atoms, const double* positions, const std::int32_t* atomic_numbers,
                const double* cell, const int* pbc, const ekd_results& to);
  void evaluate(const ekd_rows& rows, const ekd_results& to);

 private:
  const ekd::ModelMetadata& metadata() const { return model_.metadata(); }
  void check(const ekd_results& to) const;
  void set_species(std::int64_t n_atoms, const std::int32_t* atomic_numbers);
  // Removes pairs beyond the cutoff.
  ekd::AtomGraph within_cutoff(const ekd_rows& rows);
  ekd::StructureResults evaluate(const ekd::AtomGraph& graph, const ekd_results& to);

  std::string path_;
  ekd::ExportedModel model_;
  ekd::VerletList list_;
  int n_threads_;

  // Memory of the description.
  std::vector<std::int32_t> atomic_numbers_;
  std::vector<const char*> elements_;
  std::vector<double> free_atom_energies_;

  // Memory of the current evaluation, protected by the mutex.
  std::mutex mutex_;
  std::vector<std::int64_t> species_;
  std::vector<std::int64_t> offsets_;  // of pairs within the cutoff, like the following
  std::vector<std::int64_t> neighbors_;
  std::vector<double> pair_vectors_;
};
