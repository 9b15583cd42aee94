#include "ekd/close_pairs.hpp"

#include <cmath>
#include <mutex>
#include <tuple>

#include "ekd/parallel.hpp"

namespace ekd {
namespace {

// The closest pair is searched up to this multiple of the distance in the training data; larger
// distances are of no interest.
constexpr double kHorizon = 1.5;

// Å²: below it, a pair is closer than in the training data. The cutoff if these have no such pair.
std::vector<double> limits_of(const ModelMetadata& metadata) {
  std::vector<double> limits;
  for (const double distance : metadata.training_distances) {
    const double limit = std::min(distance, metadata.cutoff);
    limits.push_back(limit * limit);
  }
  return limits;
}

// Of equally close pairs, keeps the one with the first atoms, independent of threads.
void keep_closer(ClosePair& known, const ClosePair& other) {
  const auto rank = [](const ClosePair& pair) {
    return std::make_tuple(pair.distance, pair.atoms[0], pair.atoms[1]);
  };
  if (rank(other) < rank(known)) known = other;
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
  const std::vector<ClosePair> none(n_species * n_species,
                                    {{0, 0}, {0, 0}, std::numeric_limits<double>::infinity(), 0.0});
  std::vector<ClosePair> closest = none;
  std::mutex mutex;
  parallel_ranges(graph.n_threads, 0, graph.n_owned, kCentersWorthAThread,
                  [&](std::int64_t begin, std::int64_t end) {
                    std::vector<ClosePair> found = none;  // of these centers
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t a = graph.species[i];
                      for (std::int64_t p = graph.offsets[i]; p < graph.offsets[i + 1]; ++p) {
                        const double* const r = graph.pair_vectors + 3 * p;
                        const double squared = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
                        if (squared >= reach[a]) continue;
                        const std::int64_t j = graph.neighbors[p];
                        const std::int64_t b = graph.species[j];
                        // The other center also has the pair.
                        if (a > b || (a == b && i > j)) continue;
                        const std::int64_t row = a * n_species + b;
                        if (squared >= limits[row]) continue;
                        keep_closer(
                            found[row],
                            {{a, b}, {i, j}, std::sqrt(squared), metadata.training_distances[row]});
                      }
                    }
                    const std::lock_guard lock(mutex);
                    for (std::size_t row = 0; row < found.size(); ++row)
                      keep_closer(closest[row], found[row]);
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
