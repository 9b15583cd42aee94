#include "ekd/close_pairs.hpp"

#include <cmath>
#include <mutex>

#include "ekd/parallel.hpp"

namespace ekd {
namespace {

// The closest pair is looked for up to so many times the distance of the training data: further
// out there is nothing to learn from it.
constexpr double kHorizon = 1.5;

// Below it a pair is closer than in the training data, Å². If those have none, every pair is.
std::vector<double> limits_of(const ModelMetadata& metadata) {
  std::vector<double> limits;
  for (const double distance : metadata.training_distances) {
    const double limit = std::min(distance, metadata.cutoff);
    limits.push_back(limit * limit);
  }
  return limits;
}

}  // namespace

std::vector<ClosePair> find_close_pairs(const AtomGraph& graph, const ModelMetadata& metadata) {
  constexpr std::int64_t kCentersWorthAThread = 1024;
  const std::vector<double> limits = limits_of(metadata);
  if (limits.empty()) return {};
  const auto n_species = static_cast<std::int64_t>(metadata.elements.size());
  std::vector<double> reach(n_species, 0.0);
  for (std::int64_t k = 0; k < n_species * n_species; ++k)
    reach[k / n_species] = std::max(reach[k / n_species], limits[k]);
  std::vector<ClosePair> closest(n_species * n_species);
  for (ClosePair& pair : closest) pair.distance = std::numeric_limits<double>::infinity();
  std::mutex mutex;
  parallel_ranges(
      graph.n_threads, 0, graph.n_owned, kCentersWorthAThread,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t species = graph.species[i];
          for (std::int64_t p = graph.offsets[i]; p < graph.offsets[i + 1]; ++p) {
            const double* const r = graph.pair_vectors + 3 * p;
            const double squared = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
            if (squared >= reach[species]) continue;
            const std::int64_t j = graph.neighbors[p];
            const std::int64_t a = std::min(species, graph.species[j]);
            const std::int64_t b = std::max(species, graph.species[j]);
            const std::int64_t row = a * n_species + b;
            if (squared >= limits[row]) continue;
            const std::lock_guard lock(mutex);  // close pairs are rare
            const double distance = std::sqrt(squared);
            // Of pairs that are equally close the first, whatever thread comes upon it.
            ClosePair& known = closest[row];
            const std::int64_t first = std::min(i, j), second = std::max(i, j);
            if (distance > known.distance) continue;
            if (distance == known.distance &&
                std::make_pair(first, second) >= std::make_pair(known.atoms[0], known.atoms[1]))
              continue;
            known = {{a, b}, {first, second}, distance, metadata.training_distances[row]};
          }
        }
      });
  std::erase_if(closest, [](const ClosePair& pair) { return std::isinf(pair.distance); });
  return closest;
}

CloseCounter::CloseCounter(const ModelMetadata& metadata) : limits_(limits_of(metadata)) {
  if (limits_.empty()) return;
  n_species_ = static_cast<std::int64_t>(metadata.elements.size());
  const double furthest = metadata.cutoff * metadata.cutoff;
  for (const double limit : limits_)
    horizons_.push_back(std::min(kHorizon * kHorizon * limit, furthest));
  present_.assign(n_species_, true);
  clear();
}

void CloseCounter::clear() {
  closest_ = horizons_;
  counts_.assign(limits_.size(), 0);
  update_reach();
}

void CloseCounter::set_present(const std::vector<bool>& present) {
  present_ = present;
  update_reach();
}

void CloseCounter::update_reach() {
  reach_.assign(n_species_, 0.0);
  for (std::int64_t i = 0; i < n_species_; ++i)
    for (std::int64_t j = 0; j < n_species_; ++j)
      if (present_[j]) reach_[i] = std::max({reach_[i], limits_[row(i, j)], closest_[row(i, j)]});
}

}  // namespace ekd
