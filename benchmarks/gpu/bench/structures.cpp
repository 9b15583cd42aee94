#include "structures.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "ekd/error.hpp"
#include "ekd/parallel.hpp"

namespace bench {
namespace {

constexpr std::int64_t kAtomsWorthAThread = 4096;

std::array<double, 3> cross(const double* a, const double* b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

}  // namespace

ekd::NeighborList Structure::pairs(double cutoff, int n_threads) const {
  const std::array<std::int64_t, 2> offsets{0, n_atoms()};
  ekd::StructureBatch batch;
  batch.n_structures = 1;
  batch.offsets = offsets.data();
  batch.positions = positions.data();
  batch.cells = cell.data();
  batch.pbc = pbc.data();
  return ekd::build_neighbor_list(batch, cutoff, n_threads);
}

Structure read_structure(const std::string& path, const ekd::ModelMetadata& model) {
  std::ifstream file(path);
  if (!file) throw ekd::Error("'" + path + "' cannot be read; fill the kit with 'make gpu-kit'");
  std::int64_t n_atoms = 0;
  Structure found;
  file >> n_atoms;
  for (double& number : found.cell) file >> number;
  for (std::uint8_t& flag : found.pbc) {
    int value = 0;
    file >> value;
    flag = value != 0;
  }
  for (std::int64_t i = 0; i < n_atoms && file; ++i) {
    int number = 0;
    double x = 0.0, y = 0.0, z = 0.0;
    file >> number >> x >> y >> z;
    const auto known = std::find(model.atomic_numbers.begin(), model.atomic_numbers.end(), number);
    if (file && known == model.atomic_numbers.end())
      throw ekd::Error("'" + path + "' has an atom of atomic number " + std::to_string(number) +
                       ", which the model lacks; name a model that knows it");
    found.species.push_back(known - model.atomic_numbers.begin());
    found.positions.insert(found.positions.end(), {x, y, z});
  }
  if (!file || n_atoms < 1)
    throw ekd::Error("'" + path +
                     "' is not a structure of the kit, or is cut short; fill the kit "
                     "anew with 'make gpu-kit'");
  return found;
}

Supercell::Supercell(const Structure& unit, std::array<int, 3> repeats, double reach, int n_threads)
    : n_unit_(unit.n_atoms()), n_threads_(n_threads), repeats_(repeats) {
  const ekd::NeighborList list = unit.pairs(reach, n_threads);
  unit_offsets_ = list.center_offsets;
  unit_neighbors_.assign(list.neighbors().begin(), list.neighbors().end());
  for (std::size_t p = 0; p < list.n_pairs(); ++p) {
    std::array<int, 3> shift;
    for (int d = 0; d < 3; ++d) {
      shift[d] = list.cell_shifts[3 * p + d];
      shell_[d] = std::max(shell_[d], std::abs(shift[d]));
    }
    unit_shifts_.push_back(shift);
  }
  for (int d = 0; d < 3; ++d)
    if (!unit.pbc[d]) repeats_[d] = 1;
  const std::int64_t n_cells = std::int64_t(repeats_[0]) * repeats_[1] * repeats_[2];
  n_owned_ = n_cells * n_unit_;
  std::array<std::int64_t, 3> wide;
  for (int d = 0; d < 3; ++d) wide[d] = repeats_[d] + 2 * shell_[d];
  const std::int64_t n_places = wide[0] * wide[1] * wide[2];
  if (n_places * n_unit_ > std::numeric_limits<int>::max())
    throw ekd::Error(std::to_string(n_owned_) +
                     " atoms and their ghosts are more than 32 bits count; ask for fewer");
  index_.assign(n_places * n_unit_, -1);
  const auto add = [&](const std::array<std::int64_t, 3>& at, std::int64_t u, std::int64_t owner) {
    index_[place(at) * n_unit_ + u] = static_cast<int>(species_.size());
    species_.push_back(static_cast<int>(unit.species[u]));
    owners_.push_back(static_cast<int>(owner));
    for (int d = 0; d < 3; ++d) {
      double x = unit.positions[3 * u + d];
      for (int k = 0; k < 3; ++k) x += static_cast<double>(at[k]) * unit.cell[3 * k + d];
      positions_.push_back(x);
    }
  };
  std::array<std::int64_t, 3> at;
  for (at[0] = 0; at[0] < repeats_[0]; ++at[0])
    for (at[1] = 0; at[1] < repeats_[1]; ++at[1])
      for (at[2] = 0; at[2] < repeats_[2]; ++at[2])
        for (std::int64_t u = 0; u < n_unit_; ++u)
          add(at, u, static_cast<std::int64_t>(species_.size()));
  // Ghosts: images within reach of the cell. An atom may lie outside of its cell: so far.
  std::array<double, 3> heights{}, lowest{}, highest{};
  std::vector<std::array<double, 3>> fractions(n_unit_);
  for (int d = 0; d < 3; ++d) {
    if (!unit.pbc[d]) continue;
    // Along a direction that is not periodic the cell may be anything: then all images are kept.
    const auto normal = cross(&unit.cell[3 * ((d + 1) % 3)], &unit.cell[3 * ((d + 2) % 3)]);
    const double area = std::sqrt(dot(normal.data(), normal.data()));
    const double volume = dot(normal.data(), &unit.cell[3 * d]);
    if (area == 0.0 || volume == 0.0) continue;
    heights[d] = std::abs(volume) / area;
    lowest[d] = std::numeric_limits<double>::max();
    highest[d] = -lowest[d];
    for (std::int64_t u = 0; u < n_unit_; ++u) {
      fractions[u][d] = dot(normal.data(), &unit.positions[3 * u]) / volume;
      lowest[d] = std::min(lowest[d], fractions[u][d]);
      highest[d] = std::max(highest[d], fractions[u][d]);
    }
  }
  for (at[0] = -shell_[0]; at[0] < repeats_[0] + shell_[0]; ++at[0])
    for (at[1] = -shell_[1]; at[1] < repeats_[1] + shell_[1]; ++at[1])
      for (at[2] = -shell_[2]; at[2] < repeats_[2] + shell_[2]; ++at[2]) {
        std::array<std::int64_t, 3> inside;
        bool is_ghost = false;
        for (int d = 0; d < 3; ++d) {
          inside[d] = ((at[d] % repeats_[d]) + repeats_[d]) % repeats_[d];
          is_ghost = is_ghost || inside[d] != at[d];
        }
        if (!is_ghost) continue;
        for (std::int64_t u = 0; u < n_unit_; ++u) {
          bool near = true;
          for (int d = 0; d < 3; ++d) {
            if (heights[d] == 0.0) continue;
            const double f = fractions[u][d] + static_cast<double>(at[d]);
            const double margin = reach / heights[d] + 1e-9;
            near = near && f >= lowest[d] - margin && f <= highest[d] + repeats_[d] - 1 + margin;
          }
          if (near) add(at, u, index_[place(inside) * n_unit_ + u]);
        }
      }
  counts_.resize(n_owned_);
  for (std::int64_t i = 0; i < n_owned_; ++i) {
    const std::int64_t u = i % n_unit_;
    counts_[i] = static_cast<int>(unit_offsets_[u + 1] - unit_offsets_[u]);
    most_ = std::max(most_, counts_[i]);
  }
}

std::int64_t Supercell::place(const std::array<std::int64_t, 3>& at) const {
  std::int64_t found = 0;
  for (int d = 0; d < 3; ++d) found = found * (repeats_[d] + 2 * shell_[d]) + at[d] + shell_[d];
  return found;
}

template <class Act>
void Supercell::each_neighbor(std::int64_t atom, const Act& act) const {
  const std::int64_t u = atom % n_unit_, cell = atom / n_unit_;
  const std::array<std::int64_t, 3> home{cell / (std::int64_t(repeats_[1]) * repeats_[2]),
                                         cell / repeats_[2] % repeats_[1], cell % repeats_[2]};
  for (std::int64_t p = unit_offsets_[u]; p < unit_offsets_[u + 1]; ++p) {
    std::array<std::int64_t, 3> at;
    for (int d = 0; d < 3; ++d) at[d] = home[d] + unit_shifts_[p][d];
    act(p - unit_offsets_[u], index_[place(at) * n_unit_ + unit_neighbors_[p]]);
  }
}

double Supercell::mean_neighbors() const {
  return static_cast<double>(unit_neighbors_.size()) / static_cast<double>(n_unit_);
}

ekd::Buffer<int> Supercell::columns() const {
  ekd::Buffer<int> found(static_cast<std::size_t>(n_owned_) * most_);
  ekd::parallel_ranges(
      n_threads_, 0, n_owned_, kAtomsWorthAThread, [&](std::int64_t begin, std::int64_t end) {
        // Atoms together that share lines of the cache.
        constexpr std::int64_t kLine = 16;
        for (std::int64_t first = begin; first < end; first += kLine) {
          const std::int64_t last = std::min(first + kLine, end);
          for (int k = 0; k < most_; ++k)
            for (std::int64_t i = first; i < last; ++i) found[k * n_owned_ + i] = 0;
          for (std::int64_t i = first; i < last; ++i)
            each_neighbor(i, [&](std::int64_t k, int j) { found[k * n_owned_ + i] = j; });
        }
      });
  return found;
}

std::vector<int> Supercell::rows(std::vector<const int*>& starts) const {
  std::vector<int> found(static_cast<std::size_t>(n_owned_) * most_);
  starts.resize(n_owned_);
  for (std::int64_t i = 0; i < n_owned_; ++i) {
    int* const row = found.data() + i * most_;
    starts[i] = row;
    each_neighbor(i, [&](std::int64_t k, int j) { row[k] = j; });
  }
  return found;
}

std::array<int, 3> repeats_for(std::int64_t n_unit, std::int64_t n_atoms) {
  const double cells = static_cast<double>(n_atoms) / static_cast<double>(n_unit);
  const int side = std::max(1, static_cast<int>(std::cbrt(cells)));
  std::array<int, 3> best{1, 1, 1};
  double off = std::numeric_limits<double>::max();
  for (int a = side; a <= side + 1; ++a)
    for (int b = a; b <= side + 1; ++b)
      for (int c = b; c <= side + 2; ++c) {
        const double difference = std::abs(static_cast<double>(a) * b * c - cells);
        if (difference < off) {
          off = difference;
          best = {a, b, c};
        }
      }
  return best;
}

}  // namespace bench
