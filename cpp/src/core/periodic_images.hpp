// The atoms of one structure and their periodic images within reach, sorted in space.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ekd/buffer.hpp"

namespace ekd {

using Vec3 = std::array<double, 3>;
using Mat3 = std::array<Vec3, 3>;

// One structure of a batch.
struct StructureView {
  std::int64_t n_atoms = 0;
  const double* positions = nullptr;  // [n_atoms, 3], Å
  const double* cell = nullptr;       // [3, 3], rows are lattice vectors; or null
  std::array<bool, 3> periodic{};
  std::int64_t number = -1;  // index in the batch; negative for a single structure
};

// For messages: " of structure 12", or nothing.
inline std::string name_structure(std::int64_t number) {
  return number < 0 ? "" : " of structure " + std::to_string(number);
}

// The position of an image of an atom is positions[atom] + shift @ cell.
struct alignas(16) Image {
  std::array<std::int32_t, 3> shift;
  std::int32_t atom;
};

// x, y, z and a zero, loaded at once.
struct alignas(32) Point {
  double xyz[4];
};

// The atoms wrapped into the cell (the centers) and all their images within `reach` of the cell.
// The neighbors of a center are then found among points in open space, for any cell.
//
// Images are sorted into cubic bins; the index of an image in this order is its slot. A row of bins
// along the third axis is a contiguous range of slots. If covering all images would need far more
// bins than images (a droplet, and a molecule a kilometer away), bins repeat along an axis: a bin
// then contains images that are far apart, which only costs time.
class PeriodicImages {
 public:
  // Number of values after the last one of each coordinate, so that whole vectors can be read.
  static constexpr std::int64_t kSlack = 8;

  PeriodicImages() = default;
  // Throws StructureError: see build_neighbor_list.
  PeriodicImages(const StructureView& structure, double reach, int n_threads);

  // Updates the same images after atoms have moved. The order does not change.
  void move(const double* positions);

  std::int64_t size() const { return n_images_; }
  const Image* images() const { return images_; }
  const Point* points() const { return points_; }
  // The same points as separate arrays of x, y and z.
  const double* coordinates(int c) const { return coordinates_[c]; }
  // Slots of the atoms themselves, ascending, [n_atoms].
  const std::int32_t* centers() const { return centers_; }

  using Bin = std::array<std::int64_t, 3>;
  Bin bin_of(const Point& point) const;

  // Calls visit(begin, end) for ranges of slots that together contain all images within reach of
  // any point of the bin.
  template <class Visit>
  void visit_around(const Bin& bin, const Visit& visit) const;

 private:
  struct Axis {
    Vec3 direction{};
    double low = 0.0;
    std::int64_t n_covering = 1;  // bins that cover all images
    std::int64_t n_bins = 1;      // actual bins; if fewer, they repeat

    std::int64_t fold(std::int64_t bin) const { return n_bins < n_covering ? bin % n_bins : bin; }
  };

  // Smallest and largest coordinate along each axis.
  struct Extent {
    Vec3 low, high;
    Extent();
    void include(const Extent& other);
  };
  // Images of some atoms, without the atoms themselves; the extent includes both.
  struct Found {
    std::vector<Image> images;
    Extent extent;
  };

  void make_axes(const std::array<bool, 3>& periodic);
  void allocate(std::int64_t n_images, std::int64_t n_atoms);
  Point place(const Image& image, const double* positions) const;
  double coordinate(int axis, const Point& point) const;
  Found find_images(const StructureView& structure, const Vec3& margin, std::int64_t begin,
                    std::int64_t end, Image* atoms) const;
  void make_bins(const Extent& extent, std::int64_t n_images, double reach);
  double n_bins() const;
  void put(std::int64_t slot, const Image& image, const double* positions);
  void sort(const std::vector<Image>& images, const StructureView& structure, int n_threads);

  Mat3 cell_{};
  Mat3 reciprocal_{};  // row d: gradient of fractional coordinate d
  std::array<Axis, 3> axes_{};
  double bins_per_length_ = 0.0;
  std::int64_t n_steps_ = 0;             // bins to visit on either side; 0: a single bin
  std::vector<std::int32_t> bin_start_;  // [n_bins + 1] slots; empty for a single bin

  // All arrays in one block: a batch may have a hundred thousand molecules.
  Buffer<std::byte> memory_;
  std::int64_t n_images_ = 0;
  Point* points_ = nullptr;               // [n_images]
  Image* images_ = nullptr;               // [n_images]
  std::array<double*, 3> coordinates_{};  // [n_images + kSlack] each
  std::int32_t* centers_ = nullptr;       // [n_atoms]
};

template <class Visit>
void PeriodicImages::visit_around(const Bin& bin, const Visit& visit) const {
  if (n_steps_ == 0) return visit(0, size());
  Bin low, high;
  for (int a = 0; a < 3; ++a) {
    low[a] = std::max<std::int64_t>(bin[a] - n_steps_, 0);
    high[a] = std::min(bin[a] + n_steps_, axes_[a].n_covering - 1);
  }
  const std::int64_t begin = axes_[2].fold(low[2]);
  const std::int64_t end = axes_[2].fold(high[2]) + 1;
  for (std::int64_t first = low[0]; first <= high[0]; ++first)
    for (std::int64_t second = low[1]; second <= high[1]; ++second) {
      const std::int64_t row = axes_[0].fold(first) * axes_[1].n_bins + axes_[1].fold(second);
      const std::int32_t* start = bin_start_.data() + row * axes_[2].n_bins;
      if (begin < end) {
        visit(start[begin], start[end]);
      } else {  // the row repeats within reach
        visit(start[0], start[end]);
        visit(start[begin], start[axes_[2].n_bins]);
      }
    }
}

}  // namespace ekd
