#include "ekd/forces.hpp"

#include <algorithm>
#include <vector>

#include "ekd/parallel.hpp"

namespace ekd {
namespace {

// Pairs are cut into so many parts, which depends on their number alone: so do the results, to the
// last bit, and not on the number of threads.
constexpr std::int64_t kPairsWorthAPart = 65536;
constexpr std::int64_t kMostParts = 8;

std::int64_t parts_of(std::int64_t n_pairs) {
  return std::clamp<std::int64_t>(n_pairs / kPairsWorthAPart, 1, kMostParts);
}

// run(part, first pair, end) for every part.
template <class Run>
void for_parts(const AtomGraph& graph, const Run& run) {
  const std::int64_t n_parts = parts_of(graph.n_pairs);
  parallel_for(graph.n_threads, n_parts, [&](std::int64_t part, int) {
    run(part, graph.n_pairs * part / n_parts, graph.n_pairs * (part + 1) / n_parts);
  });
}

}  // namespace

Buffer<double> forces(const AtomGraph& graph, const double* pair_gradients) {
  const std::int64_t n_values = 3 * graph.n_atoms;
  const std::int64_t* const offsets = graph.offsets;
  Buffer<double> result(n_values);
  double* const out = result.data();
  // Every part adds to forces of its own, the first to the result; these are added up at the end.
  const std::int64_t n_others = parts_of(graph.n_pairs) - 1;
  Buffer<double> others(n_others * n_values);
  for_parts(graph, [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    double* const to = part == 0 ? out : others.data() + (part - 1) * n_values;
    std::fill_n(to, n_values, 0.0);
    // The centre of the first pair: the last that begins no later.
    std::int64_t i = std::upper_bound(offsets, offsets + graph.n_centers + 1, first) - offsets - 1;
    for (std::int64_t p = first; p < end; ++i) {
      std::array<double, 3> sum{};
      for (; p < std::min(end, offsets[i + 1]); ++p) {
        double* const at_neighbor = to + 3 * graph.neighbors[p];
        for (int d = 0; d < 3; ++d) {
          const double g = pair_gradients[3 * p + d];
          sum[d] += g;
          at_neighbor[d] -= g;
        }
      }
      for (int d = 0; d < 3; ++d) to[3 * i + d] += sum[d];
    }
  });
  if (n_others == 0) return result;
  constexpr std::int64_t kValuesWorthAThread = 8192;
  parallel_ranges(graph.n_threads, 0, n_values, kValuesWorthAThread,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t other = 0; other < n_others; ++other)
                      for (std::int64_t k = begin; k < end; ++k)
                        out[k] += others[other * n_values + k];
                  });
  return result;
}

std::array<double, 9> virial(const AtomGraph& graph, const double* pair_gradients) {
  std::vector<std::array<double, 9>> sums(parts_of(graph.n_pairs));
  for_parts(graph, [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    std::array<double, 9> sum{};
    for (std::int64_t p = first; p < end; ++p)
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b)
          sum[3 * a + b] -= graph.pair_vectors[3 * p + a] * pair_gradients[3 * p + b];
    sums[part] = sum;
  });
  std::array<double, 9> result{};
  for (const auto& sum : sums)
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) result[3 * a + b] += 0.5 * (sum[3 * a + b] + sum[3 * b + a]);
  return result;
}

}  // namespace ekd
