#include "committee_spread.h"

#include <cmath>

namespace ekd {

void CommitteeSpread::begin(std::size_t n_all, int n_members) {
  n_members_ = n_members;
  energies_.clear();
  forces_.assign(n_all * width(), 0.0);
}

void CommitteeSpread::add(const Neighborhood& atoms, double energy, const double* pair_gradients) {
  const std::size_t column = 3 * energies_.size();
  energies_.push_back(energy);
  for (std::size_t i = 0; i + 1 < atoms.offsets.size(); ++i) {
    double* center = &forces_[i * width() + column];
    for (std::int64_t p = atoms.offsets[i]; p < atoms.offsets[i + 1]; ++p) {
      double* neighbor = &forces_[atoms.neighbors[p] * width() + column];
      for (int d = 0; d < 3; ++d) {
        center[d] += pair_gradients[3 * p + d];
        neighbor[d] -= pair_gradients[3 * p + d];
      }
    }
  }
}

void CommitteeSpread::add(double energy, const double* forces) {
  const std::size_t column = 3 * energies_.size();
  energies_.push_back(energy);
  const std::size_t n_all = forces_.size() / width();
  for (std::size_t i = 0; i < n_all; ++i)
    for (int d = 0; d < 3; ++d) forces_[i * width() + column + d] = forces[3 * i + d];
}

double CommitteeSpread::forces_std(std::size_t atom) const {
  const double* row = &forces_[atom * width()];
  double squares = 0.0;
  for (int d = 0; d < 3; ++d) {
    double mean = 0.0;
    for (int m = 0; m < n_members_; ++m) mean += row[3 * m + d] / n_members_;
    for (int m = 0; m < n_members_; ++m) squares += std::pow(row[3 * m + d] - mean, 2);
  }
  return std::sqrt(squares / n_members_ / 3.0);
}

double CommitteeSpread::energy_std() const {
  double mean = 0.0;
  for (const double energy : energies_) mean += energy / n_members_;
  double squares = 0.0;
  for (const double energy : energies_) squares += std::pow(energy - mean, 2);
  return std::sqrt(squares / n_members_);
}

double CommitteeSpread::memory_usage() const {
  return static_cast<double>((forces_.capacity() + energies_.capacity()) * sizeof(double));
}

}  // namespace ekd
