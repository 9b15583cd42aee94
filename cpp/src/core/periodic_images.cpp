#include "periodic_images.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "ekd/error.hpp"
#include "ekd/parallel.hpp"

namespace ekd {
namespace {

// Images and bins have 32-bit indices.
constexpr double kMaxImages = std::numeric_limits<std::int32_t>::max();
// Positions of atoms more than this many cells away have lost their precision.
constexpr double kMaxWraps = 1e9;
// Up to this number of images, all pairs are tested.
constexpr std::int64_t kSmall = 64;

// Atoms or images per work item of a thread.
constexpr std::int64_t kBlock = 2048;

std::int64_t n_blocks(std::int64_t n) { return (n + kBlock - 1) / kBlock; }

Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

double norm(const Vec3& a) { return std::sqrt(dot(a, a)); }

Vec3 scaled(const Vec3& a, double factor) { return {a[0] * factor, a[1] * factor, a[2] * factor}; }

Vec3 unit(const Vec3& a) { return scaled(a, 1.0 / norm(a)); }

// Periodic directions keep their lattice vector; each open direction gets a unit vector
// perpendicular to all others, regardless of the user's cell.
Mat3 complete_cell(const StructureView& structure) {
  const std::array<bool, 3>& periodic = structure.periodic;
  Mat3 basis{};
  std::array<int, 3> open{};
  int n_open = 0;
  for (int d = 0; d < 3; ++d) {
    if (!periodic[d]) {
      open[n_open++] = d;
      continue;
    }
    if (structure.cell != nullptr) std::copy_n(structure.cell + 3 * d, 3, basis[d].begin());
    if (!(norm(basis[d]) > 0.0) || !std::isfinite(norm(basis[d])))
      throw StructureError("direction " + std::to_string(d) + name_structure(structure.number) +
                           " is periodic but has no cell vector; give a cell or set pbc to False "
                           "there [EKD-STRUCTURE-010]");
  }
  if (n_open == 3) {
    basis = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  } else if (n_open == 2) {
    const int d = 3 - open[0] - open[1];
    // The Cartesian axis least aligned with the periodic vector gives a well-conditioned normal.
    const Vec3& a = basis[d];
    int axis = 0;
    for (int c = 1; c < 3; ++c)
      if (std::abs(a[c]) < std::abs(a[axis])) axis = c;
    Vec3 least{};
    least[axis] = 1.0;
    basis[open[0]] = unit(cross(a, least));
    basis[open[1]] = unit(cross(a, basis[open[0]]));
  } else if (n_open == 1) {
    const int d = open[0];
    const Vec3 normal = cross(basis[(d + 1) % 3], basis[(d + 2) % 3]);
    if (norm(normal) > 0.0) basis[d] = unit(normal);
  }
  const double volume = std::abs(dot(basis[0], cross(basis[1], basis[2])));
  if (!(volume > 1e-10 * norm(basis[0]) * norm(basis[1]) * norm(basis[2])))
    throw StructureError("the cell vectors" + name_structure(structure.number) +
                         " are linearly dependent; give three independent vectors, or set pbc to "
                         "False in the open directions [EKD-STRUCTURE-011]");
  return basis;
}

// Integer part of a number of bins; one large number if it is out of range or NaN.
std::int64_t whole(double bins) {
  constexpr double most = 1e18;
  return static_cast<std::int64_t>(std::abs(bins) < most ? bins : most);
}

[[noreturn]] void report_position(const StructureView& structure, std::int64_t atom,
                                  const char* what) {
  throw StructureError("the position of atom " + std::to_string(atom) +
                       name_structure(structure.number) + what +
                       "; check the input or the simulation that made it [EKD-STRUCTURE-012]");
}

[[noreturn]] void report_too_many(const StructureView& structure, double reach, double n_images) {
  std::ostringstream message;
  message << "a cutoff of " << reach << " Å reaches about " << n_images
          << " periodic images of the " << structure.n_atoms << " atoms"
          << name_structure(structure.number) << ", more than " << kMaxImages
          << "; use a smaller cutoff, or check the cell [EKD-STRUCTURE-013]";
  throw StructureError(message.str());
}

}  // namespace

PeriodicImages::PeriodicImages(const StructureView& structure, double reach, int n_threads) {
  if (structure.n_atoms <= 0)
    throw StructureError("no atoms" + name_structure(structure.number) +
                         "; a structure needs at least one atom [EKD-STRUCTURE-002]");
  cell_ = complete_cell(structure);
  const double volume = dot(cell_[0], cross(cell_[1], cell_[2]));
  for (int d = 0; d < 3; ++d)
    reciprocal_[d] = scaled(cross(cell_[(d + 1) % 3], cell_[(d + 2) % 3]), 1.0 / volume);
  make_axes(structure.periodic);

  Vec3 margin{};  // the reach in fractional coordinates, plus a margin for rounding
  double most = static_cast<double>(structure.n_atoms);
  for (int d = 0; d < 3; ++d) {
    if (!structure.periodic[d]) continue;
    margin[d] = reach * norm(reciprocal_[d]) + 1e-6;
    most *= 2.0 + 2.0 * margin[d];
  }
  if (!(most <= kMaxImages)) report_too_many(structure, reach, most);

  std::vector<Image> images(structure.n_atoms);  // the atoms themselves come first
  std::vector<Found> found(n_blocks(structure.n_atoms));
  parallel_for(n_threads, std::ssize(found), [&](std::int64_t block, int) {
    const std::int64_t begin = block * kBlock;
    const std::int64_t end = std::min(begin + kBlock, structure.n_atoms);
    found[block] = find_images(structure, margin, begin, end, images.data());
  });
  Extent extent;
  for (const Found& each : found) {
    images.insert(images.end(), each.images.begin(), each.images.end());
    extent.include(each.extent);
  }
  make_bins(extent, std::ssize(images), reach);
  sort(images, structure, n_threads);
}

void PeriodicImages::move(const double* positions) {
  for (std::int64_t slot = 0; slot < size(); ++slot) put(slot, images_[slot], positions);
}

// Orthonormal axes along which the cell extends little beyond its longest vector in any
// orientation, so that few bins are empty.
void PeriodicImages::make_axes(const std::array<bool, 3>& periodic) {
  std::array<int, 3> order{0, 1, 2};
  const auto length = [&](int d) { return periodic[d] ? norm(cell_[d]) : 0.0; };
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return length(a) != length(b) ? length(a) > length(b) : a < b; });
  const Vec3 first = unit(cell_[order[0]]);
  const Vec3 third = unit(cross(first, cell_[order[1]]));
  axes_[0].direction = first;
  axes_[1].direction = cross(third, first);
  axes_[2].direction = third;
}

Point PeriodicImages::place(const Image& image, const double* positions) const {
  Point point{};
  for (int c = 0; c < 3; ++c)
    point.xyz[c] = positions[3 * std::int64_t{image.atom} + c] +
                   (image.shift[0] * cell_[0][c] + image.shift[1] * cell_[1][c] +
                    image.shift[2] * cell_[2][c]);
  return point;
}

double PeriodicImages::coordinate(int axis, const Point& point) const {
  const Vec3& along = axes_[axis].direction;
  return along[0] * point.xyz[0] + along[1] * point.xyz[1] + along[2] * point.xyz[2];
}

PeriodicImages::Extent::Extent() {
  low.fill(std::numeric_limits<double>::max());
  high.fill(std::numeric_limits<double>::lowest());
}

void PeriodicImages::Extent::include(const Extent& other) {
  for (int a = 0; a < 3; ++a) {
    low[a] = std::min(low[a], other.low[a]);
    high[a] = std::max(high[a], other.high[a]);
  }
}

PeriodicImages::Found PeriodicImages::find_images(const StructureView& structure,
                                                  const Vec3& margin, std::int64_t begin,
                                                  std::int64_t end, Image* atoms) const {
  Found found;
  const auto include = [&](const Image& image) {
    const Point point = place(image, structure.positions);
    for (int a = 0; a < 3; ++a) {
      const double along = coordinate(a, point);
      found.extent.low[a] = std::min(found.extent.low[a], along);
      found.extent.high[a] = std::max(found.extent.high[a], along);
    }
  };
  for (std::int64_t i = begin; i < end; ++i) {
    const double* r = structure.positions + 3 * i;
    if (!std::isfinite(r[0]) || !std::isfinite(r[1]) || !std::isfinite(r[2]))
      report_position(structure, i, " is not finite");
    std::array<std::int32_t, 3> low{};
    std::array<std::int32_t, 3> high{};
    std::array<std::int32_t, 3> fold{};
    for (int d = 0; d < 3; ++d) {
      if (!structure.periodic[d]) continue;
      const double s = dot({r[0], r[1], r[2]}, reciprocal_[d]);
      const double whole = std::floor(s);
      if (!(std::abs(whole) <= kMaxWraps))
        report_position(structure, i, " is more than 1e9 cells away from the cell");
      fold[d] = -static_cast<std::int32_t>(whole);
      low[d] = static_cast<std::int32_t>(std::ceil(-margin[d] - (s - whole)));
      high[d] = static_cast<std::int32_t>(std::floor(1.0 + margin[d] - (s - whole)));
    }
    const auto atom = static_cast<std::int32_t>(i);
    atoms[i] = {fold, atom};
    include(atoms[i]);
    for (std::int32_t k0 = low[0]; k0 <= high[0]; ++k0)
      for (std::int32_t k1 = low[1]; k1 <= high[1]; ++k1)
        for (std::int32_t k2 = low[2]; k2 <= high[2]; ++k2) {
          if (k0 == 0 && k1 == 0 && k2 == 0) continue;
          found.images.push_back({{fold[0] + k0, fold[1] + k1, fold[2] + k2}, atom});
          include(found.images.back());
        }
  }
  return found;
}

void PeriodicImages::make_bins(const Extent& extent, std::int64_t n_images, double reach) {
  if (n_images <= kSmall) return;  // one bin
  // With bins of half the reach, fewer images must be tested than with bins of the whole reach, but
  // in a dilute gas most of them would be empty.
  const double most = std::min(4.0 * static_cast<double>(n_images), kMaxImages);
  for (n_steps_ = 2; n_steps_ >= 1; --n_steps_) {
    bins_per_length_ = static_cast<double>(n_steps_) / reach;
    for (int a = 0; a < 3; ++a) {
      axes_[a].low = extent.low[a];
      axes_[a].n_covering = whole((extent.high[a] - extent.low[a]) * bins_per_length_) + 1;
      axes_[a].n_bins = axes_[a].n_covering;
    }
    if (n_bins() <= most) return;
  }
  n_steps_ = 1;
  // No bin may be visited twice from -n_steps to n_steps.
  const std::int64_t least = 2 * n_steps_ + 1;
  while (n_bins() > most) {
    const auto longest =
        std::max_element(axes_.begin(), axes_.end(),
                         [](const Axis& a, const Axis& b) { return a.n_bins < b.n_bins; });
    longest->n_bins = std::max(longest->n_bins / 2, least);
  }
}

double PeriodicImages::n_bins() const {
  return static_cast<double>(axes_[0].n_bins) * static_cast<double>(axes_[1].n_bins) *
         static_cast<double>(axes_[2].n_bins);
}

PeriodicImages::Bin PeriodicImages::bin_of(const Point& point) const {
  Bin bin;
  for (int a = 0; a < 3; ++a)
    bin[a] =
        std::clamp<std::int64_t>(whole((coordinate(a, point) - axes_[a].low) * bins_per_length_), 0,
                                 axes_[a].n_covering - 1);
  return bin;
}

void PeriodicImages::allocate(std::int64_t n_images, std::int64_t n_atoms) {
  n_images_ = n_images;
  const std::int64_t n_values = n_images + kSlack;
  memory_ = Buffer<std::byte>(n_images * (sizeof(Point) + sizeof(Image)) +
                              3 * n_values * sizeof(double) + n_atoms * sizeof(std::int32_t));
  // Ordered by alignment, so that no array needs padding.
  points_ = reinterpret_cast<Point*>(memory_.data());
  images_ = reinterpret_cast<Image*>(points_ + n_images);
  auto* values = reinterpret_cast<double*>(images_ + n_images);
  for (double*& coordinate : coordinates_) {
    coordinate = values;
    std::fill_n(coordinate + n_images, kSlack, 0.0);
    values += n_values;
  }
  centers_ = reinterpret_cast<std::int32_t*>(values);
}

void PeriodicImages::put(std::int64_t slot, const Image& image, const double* positions) {
  images_[slot] = image;
  points_[slot] = place(image, positions);
  for (int c = 0; c < 3; ++c) coordinates_[c][slot] = points_[slot].xyz[c];
}

// Counting sort: within a bin, atoms come before images, both in the order of the atoms.
void PeriodicImages::sort(const std::vector<Image>& images, const StructureView& structure,
                          int n_threads) {
  const std::int64_t n_images = std::ssize(images);
  allocate(n_images, structure.n_atoms);
  if (n_steps_ == 0) {
    for (std::int64_t k = 0; k < n_images; ++k) put(k, images[k], structure.positions);
    std::iota(centers_, centers_ + structure.n_atoms, 0);
    return;
  }
  const auto for_all = [&](const auto& body) {
    parallel_for(n_threads, n_blocks(n_images), [&](std::int64_t block, int) {
      const std::int64_t end = std::min((block + 1) * kBlock, n_images);
      for (std::int64_t k = block * kBlock; k < end; ++k) body(k);
    });
  };
  std::vector<std::int32_t> slots(n_images);  // first the bins, then the slots
  for_all([&](std::int64_t k) {
    const Bin bin = bin_of(place(images[k], structure.positions));
    const std::int64_t row = axes_[0].fold(bin[0]) * axes_[1].n_bins + axes_[1].fold(bin[1]);
    slots[k] = static_cast<std::int32_t>(row * axes_[2].n_bins + axes_[2].fold(bin[2]));
  });
  bin_start_.assign(static_cast<std::size_t>(n_bins()) + 1, 0);
  for (const std::int32_t bin : slots) ++bin_start_[bin + 1];
  std::partial_sum(bin_start_.begin(), bin_start_.end(), bin_start_.begin());
  std::vector<std::int32_t> next(bin_start_.begin(), bin_start_.end() - 1);
  for (std::int32_t& slot : slots) slot = next[slot]++;
  for_all([&](std::int64_t k) { put(slots[k], images[k], structure.positions); });

  std::vector<bool> is_center(n_images);
  for (std::int64_t k = 0; k < structure.n_atoms; ++k) is_center[slots[k]] = true;
  std::int32_t* center = centers_;
  for (std::int32_t slot = 0; slot < n_images; ++slot)
    if (is_center[slot]) *center++ = slot;
}

}  // namespace ekd
