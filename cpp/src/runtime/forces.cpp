#include "ekd/forces.hpp"

#include <algorithm>
#include <cmath>

#include "ekd/parallel.hpp"

namespace ekd {
namespace {

// The number of parts that pairs are divided into depends only on the number of pairs, so results
// are bitwise independent of the number of threads.
constexpr std::int64_t kPairsWorthAPart = 65536;
constexpr std::int64_t kMostParts = 8;

// Fewer structures are not worth starting a thread.
constexpr std::int64_t kStructuresAtATime = 32;

// Atoms of a graph without pairs with other atoms, and their pairs.
struct Piece {
  std::int64_t first_atom;
  std::int64_t n_atoms;
  std::int64_t first_pair;
  std::int64_t n_pairs;
  int n_threads;
};

Piece whole(const AtomGraph& graph) {
  return {0, graph.n_atoms, 0, graph.n_pairs, graph.n_threads};
}

std::int64_t parts_of(const Piece& piece) {
  return std::clamp<std::int64_t>(piece.n_pairs / kPairsWorthAPart, 1, kMostParts);
}

// Calls run(part, first pair, end) for every part.
template <class Run>
void for_parts(const Piece& piece, const Run& run) {
  const std::int64_t n_parts = parts_of(piece);
  parallel_for(piece.n_threads, n_parts, [&](std::int64_t part, int) {
    run(part, piece.first_pair + piece.n_pairs * part / n_parts,
        piece.first_pair + piece.n_pairs * (part + 1) / n_parts);
  });
}

// Calls run(structure, piece) for every structure. The structures, or the pairs of a single one,
// are divided among threads.
template <class Run>
void for_structures(const AtomGraph& graph, std::span<const std::int64_t> offsets, const Run& run) {
  const std::int64_t n_structures = std::ssize(offsets) - 1;
  const int n_inner = n_structures == 1 ? graph.n_threads : 1;
  parallel_ranges(graph.n_threads, 0, n_structures, kStructuresAtATime,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t s = begin; s < end; ++s) {
                      const std::int64_t first_pair = graph.offsets[offsets[s]];
                      run(s, Piece{offsets[s], offsets[s + 1] - offsets[s], first_pair,
                                   graph.offsets[offsets[s + 1]] - first_pair, n_inner});
                    }
                  });
}

// Writes the forces of the atoms of a piece to `all`, the forces of all atoms.
void write_forces(const AtomGraph& graph, const Piece& piece, const double* pair_gradients,
                  double* all) {
  const std::int64_t n_values = 3 * piece.n_atoms;
  const std::int64_t* const offsets = graph.offsets;
  double* const out = all + 3 * piece.first_atom;
  // Every part has its own array of forces, the first one the result; they are summed at the end.
  const std::int64_t n_others = parts_of(piece) - 1;
  Buffer<double> others;
  if (n_others > 0) others = Buffer<double>(n_others * n_values);
  for_parts(piece, [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    double* const values = part == 0 ? out : others.data() + (part - 1) * n_values;
    double* const to = values - 3 * piece.first_atom;
    std::fill_n(values, n_values, 0.0);
    // The center of the first pair: the last one that begins no later.
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
  if (n_others == 0) return;
  constexpr std::int64_t kValuesWorthAThread = 8192;
  parallel_ranges(piece.n_threads, 0, n_values, kValuesWorthAThread,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t other = 0; other < n_others; ++other)
                      for (std::int64_t k = begin; k < end; ++k)
                        out[k] += others[other * n_values + k];
                  });
}

std::array<double, 9> virial_of(const AtomGraph& graph, const Piece& piece,
                                const double* pair_gradients) {
  std::array<std::array<double, 9>, kMostParts> sums;
  for_parts(piece, [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    std::array<double, 9> sum{};
    for (std::int64_t p = first; p < end; ++p)
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b)
          sum[3 * a + b] -= graph.pair_vectors[3 * p + a] * pair_gradients[3 * p + b];
    sums[part] = sum;
  });
  std::array<double, 9> result{};
  for (std::int64_t part = 0; part < parts_of(piece); ++part)
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b)
        result[3 * a + b] += 0.5 * (sums[part][3 * a + b] + sums[part][3 * b + a]);
  return result;
}

}  // namespace

Buffer<double> forces(const AtomGraph& graph, const double* pair_gradients) {
  Buffer<double> result(3 * graph.n_atoms);
  write_forces(graph, whole(graph), pair_gradients, result.data());
  return result;
}

std::array<double, 9> virial(const AtomGraph& graph, const double* pair_gradients) {
  return virial_of(graph, whole(graph), pair_gradients);
}

Buffer<double> forces(const AtomGraph& graph, const double* pair_gradients,
                      std::span<const std::int64_t> offsets) {
  Buffer<double> result(3 * graph.n_atoms);
  for_structures(graph, offsets, [&](std::int64_t, const Piece& piece) {
    write_forces(graph, piece, pair_gradients, result.data());
  });
  return result;
}

std::vector<std::array<double, 9>> virials(const AtomGraph& graph, const double* pair_gradients,
                                           std::span<const std::int64_t> offsets) {
  std::vector<std::array<double, 9>> result(offsets.size() - 1);
  for_structures(graph, offsets, [&](std::int64_t s, const Piece& piece) {
    result[s] = virial_of(graph, piece, pair_gradients);
  });
  return result;
}

Buffer<double> forces_spread(const std::vector<Buffer<double>>& members,
                             const Buffer<double>& mean) {
  const std::size_t n_atoms = mean.size() / 3;
  Buffer<double> result(n_atoms);
  for (std::size_t i = 0; i < n_atoms; ++i) {
    double squares = 0.0;
    for (const Buffer<double>& of_member : members)
      for (std::size_t d = 3 * i; d < 3 * i + 3; ++d)
        squares += (of_member[d] - mean[d]) * (of_member[d] - mean[d]);
    result[i] = std::sqrt(squares / (3.0 * static_cast<double>(members.size())));
  }
  return result;
}

}  // namespace ekd
