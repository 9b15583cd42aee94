#include "ekd/neighbor_list.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include "ekd/error.hpp"

namespace ekd {
namespace {

using Vec3 = std::array<double, 3>;
using Cell = std::array<Vec3, 3>;  // rows are lattice vectors

Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

double norm(const Vec3& a) { return std::sqrt(dot(a, a)); }

Vec3 scaled(const Vec3& a, double factor) { return {a[0] * factor, a[1] * factor, a[2] * factor}; }

// " of structure 12" for a batch, nothing for a single structure.
std::string name_structure(std::int64_t structure, std::int64_t n_structures) {
  return n_structures == 1 ? "" : " of structure " + std::to_string(structure);
}

// A right basis for binning: periodic directions keep their lattice vector; each open direction
// gets a unit vector that is independent of the others, whatever the user's cell holds there.
Cell complete_cell(const double* cell, const std::array<bool, 3>& periodic,
                   const std::string& which) {
  Cell basis{};
  std::vector<int> open;
  for (int d = 0; d < 3; ++d) {
    if (!periodic[d]) {
      open.push_back(d);
      continue;
    }
    if (cell != nullptr) basis[d] = {cell[3 * d], cell[3 * d + 1], cell[3 * d + 2]};
    if (!(norm(basis[d]) > 0.0) || !std::isfinite(norm(basis[d])))
      throw StructureError("direction " + std::to_string(d) + which +
                           " is periodic but has no cell vector; give a cell or set pbc to False "
                           "there");
  }
  if (open.size() == 3) {
    basis = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  } else if (open.size() == 2) {
    const int d = 3 - open[0] - open[1];
    // The Cartesian axis least aligned with the periodic vector gives a well-conditioned normal.
    const Vec3& a = basis[d];
    int axis = 0;
    for (int c = 1; c < 3; ++c)
      if (std::abs(a[c]) < std::abs(a[axis])) axis = c;
    Vec3 unit{};
    unit[axis] = 1.0;
    const Vec3 first = cross(a, unit);
    basis[open[0]] = scaled(first, 1.0 / norm(first));
    const Vec3 second = cross(a, basis[open[0]]);
    basis[open[1]] = scaled(second, 1.0 / norm(second));
  } else if (open.size() == 1) {
    const int d = open[0];
    const Vec3 normal = cross(basis[(d + 1) % 3], basis[(d + 2) % 3]);
    if (norm(normal) > 0.0) basis[d] = scaled(normal, 1.0 / norm(normal));
  }
  const double volume = std::abs(dot(basis[0], cross(basis[1], basis[2])));
  if (!(volume > 1e-10 * norm(basis[0]) * norm(basis[1]) * norm(basis[2])))
    throw StructureError("the cell vectors" + which +
                         " are linearly dependent; give three independent vectors, or set pbc to "
                         "False in the open directions");
  return basis;
}

// One direction of the bin grid. Bin b of an atom and bin b + offset of its neighbour lie
// `shift` periodic images apart:
//
//     offset   -3  -2  -1   0   1   2   3        two bins, both searched over several images
//     bin       1   0   1  [0]  1   0   1        when the cell is smaller than the cutoff
//     shift    -2  -1  -1   0   0   1   1
struct GridDirection {
  bool periodic = false;
  double origin = 0.0;  // fractional coordinate of the lower edge of bin 0
  double extent = 1.0;  // fractional length of all bins
  std::int64_t n_bins = 1;
  std::int64_t reach = 1;  // bins to search on either side
  std::int64_t bin_of(double fractional) const {
    const auto bin = static_cast<std::int64_t>((fractional - origin) / extent * n_bins);
    return std::clamp<std::int64_t>(bin, 0, n_bins - 1);
  }
};

class StructureSearch {
 public:
  StructureSearch(const StructureBatch& batch, std::int64_t structure, double cutoff)
      : first_(batch.offsets[structure]),
        n_atoms_(batch.offsets[structure + 1] - first_),
        positions_(batch.positions + 3 * first_),
        cutoff_(cutoff),
        which_(name_structure(structure, batch.n_structures)) {
    if (n_atoms_ <= 0)
      throw StructureError("no atoms" + which_ + "; a structure needs at least one atom");
    std::array<bool, 3> periodic{};
    for (int d = 0; d < 3; ++d)
      periodic[d] = batch.pbc != nullptr && batch.pbc[3 * structure + d] != 0;
    const double* cell = batch.cells == nullptr ? nullptr : batch.cells + 9 * structure;
    cell_ = complete_cell(cell, periodic, which_);
    wrap(periodic);
    make_grid();
    sort_into_bins();
  }

  void append_to(NeighborList& list) const {
    std::array<std::int64_t, 3> bin{};
    for (std::int64_t i = 0; i < n_atoms_; ++i) {
      for (int d = 0; d < 3; ++d) bin[d] = bins_[3 * i + d];
      search_around(i, bin, list);
    }
  }

 private:
  // Fractional coordinates, folded into the cell along periodic directions.
  void wrap(const std::array<bool, 3>& periodic) {
    const double volume = dot(cell_[0], cross(cell_[1], cell_[2]));
    Cell reciprocal;  // row d: gradient of fractional coordinate d
    for (int d = 0; d < 3; ++d)
      reciprocal[d] = scaled(cross(cell_[(d + 1) % 3], cell_[(d + 2) % 3]), 1.0 / volume);
    wrapped_.resize(3 * n_atoms_);
    fractional_.resize(3 * n_atoms_);
    wraps_.assign(3 * n_atoms_, 0);
    for (std::int64_t i = 0; i < n_atoms_; ++i) {
      Vec3 r{positions_[3 * i], positions_[3 * i + 1], positions_[3 * i + 2]};
      if (!std::isfinite(r[0]) || !std::isfinite(r[1]) || !std::isfinite(r[2]))
        throw StructureError("the position of atom " + std::to_string(i) + which_ +
                             " is not finite; check the input or the simulation that made it");
      for (int d = 0; d < 3; ++d) {
        double s =
            dot({positions_[3 * i], positions_[3 * i + 1], positions_[3 * i + 2]}, reciprocal[d]);
        if (periodic[d]) {
          const double image = std::floor(s);
          s -= image;
          wraps_[3 * i + d] = static_cast<std::int64_t>(image);
          for (int c = 0; c < 3; ++c) r[c] -= image * cell_[d][c];
        }
        fractional_[3 * i + d] = s;
      }
      std::copy(r.begin(), r.end(), wrapped_.begin() + 3 * i);
    }
    for (int d = 0; d < 3; ++d) {
      grid_[d].periodic = periodic[d];
      heights_[d] = 1.0 / norm(reciprocal[d]);
    }
  }

  void make_grid() {
    for (int d = 0; d < 3; ++d) {
      GridDirection& grid = grid_[d];
      if (!grid.periodic) {
        double low = std::numeric_limits<double>::max();
        double high = std::numeric_limits<double>::lowest();
        for (std::int64_t i = 0; i < n_atoms_; ++i) {
          low = std::min(low, fractional_[3 * i + d]);
          high = std::max(high, fractional_[3 * i + d]);
        }
        grid.origin = low;
        // One atom, or a plane of them, still needs bins of a positive width.
        grid.extent = std::max(high - low, 1e-6 * cutoff_ / heights_[d]);
      }
      const double bins = std::floor(grid.extent * heights_[d] / cutoff_);
      // No more bins than atoms along a line: keeps a sparse gas from exhausting the memory.
      grid.n_bins = static_cast<std::int64_t>(
          std::clamp(bins, 1.0, std::max(1.0, 2.0 * std::cbrt(static_cast<double>(n_atoms_)))));
      const double width = grid.extent * heights_[d] / static_cast<double>(grid.n_bins);
      grid.reach = static_cast<std::int64_t>(std::min(std::ceil(cutoff_ / width), 1e9));
      if (!grid.periodic) grid.reach = std::min(grid.reach, grid.n_bins - 1);
    }
  }

  // Counting sort of the atoms by bin.
  void sort_into_bins() {
    const std::int64_t n_bins = grid_[0].n_bins * grid_[1].n_bins * grid_[2].n_bins;
    bins_.resize(3 * n_atoms_);
    bin_start_.assign(n_bins + 1, 0);
    std::vector<std::int64_t> flat(n_atoms_);
    for (std::int64_t i = 0; i < n_atoms_; ++i) {
      for (int d = 0; d < 3; ++d) bins_[3 * i + d] = grid_[d].bin_of(fractional_[3 * i + d]);
      flat[i] = flat_bin(bins_[3 * i], bins_[3 * i + 1], bins_[3 * i + 2]);
      ++bin_start_[flat[i] + 1];
    }
    for (std::int64_t b = 0; b < n_bins; ++b) bin_start_[b + 1] += bin_start_[b];
    bin_atoms_.resize(n_atoms_);
    std::vector<std::int64_t> next(bin_start_.begin(), bin_start_.end() - 1);
    for (std::int64_t i = 0; i < n_atoms_; ++i) bin_atoms_[next[flat[i]]++] = i;
  }

  std::int64_t flat_bin(std::int64_t b0, std::int64_t b1, std::int64_t b2) const {
    return (b0 * grid_[1].n_bins + b1) * grid_[2].n_bins + b2;
  }

  // The bin `offset` steps away along d, and the periodic image it lies in; false: outside.
  bool step(int d, std::int64_t bin, std::int64_t offset, std::int64_t& target,
            std::int64_t& shift) const {
    const GridDirection& grid = grid_[d];
    target = bin + offset;
    shift = 0;
    if (target >= 0 && target < grid.n_bins) return true;
    if (!grid.periodic) return false;
    shift = target >= 0 ? target / grid.n_bins : -((-target + grid.n_bins - 1) / grid.n_bins);
    target -= shift * grid.n_bins;
    return true;
  }

  void search_around(std::int64_t i, const std::array<std::int64_t, 3>& bin,
                     NeighborList& list) const {
    std::array<std::int64_t, 3> target{};
    std::array<std::int64_t, 3> shift{};
    for (std::int64_t o0 = -grid_[0].reach; o0 <= grid_[0].reach; ++o0) {
      if (!step(0, bin[0], o0, target[0], shift[0])) continue;
      for (std::int64_t o1 = -grid_[1].reach; o1 <= grid_[1].reach; ++o1) {
        if (!step(1, bin[1], o1, target[1], shift[1])) continue;
        for (std::int64_t o2 = -grid_[2].reach; o2 <= grid_[2].reach; ++o2) {
          if (!step(2, bin[2], o2, target[2], shift[2])) continue;
          search_bin(i, flat_bin(target[0], target[1], target[2]), shift, list);
        }
      }
    }
  }

  void search_bin(std::int64_t i, std::int64_t bin, const std::array<std::int64_t, 3>& shift,
                  NeighborList& list) const {
    Vec3 from{};  // image translation minus the centre
    for (int c = 0; c < 3; ++c)
      from[c] = shift[0] * cell_[0][c] + shift[1] * cell_[1][c] + shift[2] * cell_[2][c] -
                wrapped_[3 * i + c];
    const bool same_image = shift[0] == 0 && shift[1] == 0 && shift[2] == 0;
    for (std::int64_t slot = bin_start_[bin]; slot < bin_start_[bin + 1]; ++slot) {
      const std::int64_t j = bin_atoms_[slot];
      const Vec3 r{wrapped_[3 * j] + from[0], wrapped_[3 * j + 1] + from[1],
                   wrapped_[3 * j + 2] + from[2]};
      const double squared = dot(r, r);
      if (squared >= cutoff_ * cutoff_ || (same_image && i == j)) continue;
      if (squared < kOverlapDistance * kOverlapDistance) report_overlap(i, j, std::sqrt(squared));
      list.centers.push_back(first_ + i);
      list.neighbors.push_back(first_ + j);
      for (int d = 0; d < 3; ++d)
        list.cell_shifts.push_back(shift[d] - wraps_[3 * j + d] + wraps_[3 * i + d]);
      list.pair_vectors.insert(list.pair_vectors.end(), r.begin(), r.end());
    }
  }

  [[noreturn]] void report_overlap(std::int64_t i, std::int64_t j, double distance) const {
    std::ostringstream message;
    message << "atoms " << std::min(i, j) << " and " << std::max(i, j) << which_ << " are "
            << distance << " Å apart, closer than " << kOverlapDistance
            << " Å: they lie on top of each other; remove one of them or check the cell";
    throw StructureError(message.str());
  }

  std::int64_t first_;
  std::int64_t n_atoms_;
  const double* positions_;
  double cutoff_;
  std::string which_;
  Cell cell_{};
  Vec3 heights_{};  // distance between opposite faces of the cell
  std::array<GridDirection, 3> grid_{};
  std::vector<double> wrapped_;          // [n_atoms, 3] positions inside the cell
  std::vector<double> fractional_;       // [n_atoms, 3]
  std::vector<std::int64_t> wraps_;      // [n_atoms, 3] position = wrapped + wraps @ cell
  std::vector<std::int64_t> bins_;       // [n_atoms, 3]
  std::vector<std::int64_t> bin_start_;  // [n_bins + 1] into bin_atoms_
  std::vector<std::int64_t> bin_atoms_;  // atoms, bin after bin
};

}  // namespace

NeighborList build_neighbor_list(const StructureBatch& batch, double cutoff) {
  if (!(cutoff > 0.0) || !std::isfinite(cutoff))
    throw StructureError("the cutoff is " + std::to_string(cutoff) +
                         " Å; it must be positive and finite");
  NeighborList list;
  list.pair_offsets.reserve(batch.n_structures + 1);
  list.pair_offsets.push_back(0);
  for (std::int64_t s = 0; s < batch.n_structures; ++s) {
    StructureSearch(batch, s, cutoff).append_to(list);
    list.pair_offsets.push_back(static_cast<std::int64_t>(list.centers.size()));
  }
  return list;
}

}  // namespace ekd
