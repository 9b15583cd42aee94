#include "pair_directions.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace ekd {

void PairDirections::set(const AtomGraph& graph, bool has_later, bool has_ghosts) {
  n_atoms_ = graph.n_atoms;
  first_ = {graph.pair_vectors, 1.0, {graph.offsets, nullptr, graph.neighbors}, {}};
  if (!has_later) return;
  sort_by_neighbors(graph);
  first_.of_neighbors = {columns_.data(), by_neighbor_.data(), centers_.data()};
  later_ = has_ghosts ? StagePairs{first_.vectors, -1.0, first_.of_neighbors, first_.of_centers}
                      : first_;
  senders_.clear();
  for (std::int64_t j = 0; j < graph.n_centers; ++j)
    if (is_neighbor(j)) senders_.push_back(j);
}

bool PairDirections::is_neighbor(std::int64_t atom) const {
  const std::int64_t* const offsets = later_.of_neighbors.offsets;
  return offsets[atom] < offsets[atom + 1];
}

double PairDirections::nearest_later(std::int64_t atom) const {
  const AtomPairs& rows = later_.of_neighbors;
  double square = std::numeric_limits<double>::infinity();
  for (std::int64_t k = rows.offsets[atom]; k < rows.offsets[atom + 1]; ++k) {
    const double* r = later_.vectors + 3 * (rows.order != nullptr ? rows.order[k] : k);
    square = std::min(square, r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
  }
  return std::sqrt(square);
}

void PairDirections::sort_by_neighbors(const AtomGraph& graph) {
  const std::int64_t* const neighbors = graph.neighbors;
  columns_.assign(graph.n_atoms + 1, 0);
  for (std::int64_t p = 0; p < graph.n_pairs; ++p) ++columns_[neighbors[p] + 1];
  std::partial_sum(columns_.begin(), columns_.end(), columns_.begin());
  std::int64_t* const by_neighbor = by_neighbor_.reserve(graph.n_pairs);
  std::int64_t* const centers = centers_.reserve(graph.n_pairs);
  std::int64_t* const next = next_.reserve(graph.n_atoms);
  std::copy_n(columns_.begin(), graph.n_atoms, next);
  for (std::int64_t i = 0; i < graph.n_centers; ++i)
    for (std::int64_t p = graph.offsets[i]; p < graph.offsets[i + 1]; ++p) {
      centers[p] = i;  // NOLINT(clang-analyzer-security.ArrayBound): offsets end at n_pairs
      by_neighbor[next[neighbors[p]]++] = p;
    }
}

std::vector<std::int64_t> PairDirections::neighbors_of(std::int64_t begin, std::int64_t end) const {
  const AtomPairs& rows = later_.of_centers;
  std::vector<bool> marked(n_atoms_, false);
  std::vector<std::int64_t> atoms;
  for (std::int64_t k = rows.offsets[begin]; k < rows.offsets[end]; ++k) {
    const std::int64_t j = rows.others[rows.order != nullptr ? rows.order[k] : k];
    if (!marked[j]) atoms.push_back(j);
    marked[j] = true;
  }
  return atoms;
}

}  // namespace ekd
