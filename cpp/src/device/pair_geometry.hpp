// Pairs within the cutoff, and their geometry for the network.
#pragma once

#include "arguments.hpp"

namespace ekd::device {

constexpr int kNeighborMask = 0x1FFFFFFF;  // of LAMMPS: higher bits mark special bonds

// One thread per center. Differences are computed in double precision. Pairs keep the order of the
// list.
template <class T>
EKD_DEVICE void find_pairs(const Block& block, const Arguments<T>& a) {
  block.each_thread([&](int thread) {
    const int c = block.index * block.n_threads + thread;
    if (c >= a.n_centers) return;
    const int i = a.first + c;
    int found = 0;
    if (a.species[i] >= 0) {
      const double x = a.positions[3 * static_cast<Int64>(i)];
      const double y = a.positions[3 * static_cast<Int64>(i) + 1];
      const double z = a.positions[3 * static_cast<Int64>(i) + 2];
      const int* const row = a.neighbors + i * a.row_stride;
      Pair<T>* const to = a.pairs + static_cast<Int64>(c) * a.pairs_stride;
      const int n = a.counts[i];
      for (int k = 0; k < n; ++k) {
        const int j = row[k * a.column_stride] & kNeighborMask;
        const double* const at = a.positions + 3 * static_cast<Int64>(j);
        const double dx = at[0] - x, dy = at[1] - y, dz = at[2] - z;
        const double squared = dx * dx + dy * dy + dz * dz;
        if (squared >= a.cutoff_squared || a.species[j] < 0) continue;
        if (squared < a.overlap_squared) set_together(a.results.status, kOverlap);
        to[found++] = {static_cast<T>(dx), static_cast<T>(dy), static_cast<T>(dz),
                       a.owners != nullptr ? a.owners[j] : j};
      }
    }
    a.n_pairs[c] = found;
  });
}

// Geometry of a pair for the network. Tensor components: 1; the unit vector; and xx - 1/3, xy, xz,
// yy - 1/3, yz of its outer product.
template <class T, int C>
struct Geometry {
  T inverse_r, r;
  T envelope, envelope_slope;  // cos²(pi r / 2R), and d/dr
  T tensor[C];

  EKD_DEVICE Geometry(T x, T y, T z, T cutoff) {
    r = square_root(x * x + y * y + z * z);
    inverse_r = T(1) / r;
    tensor[0] = T(1);
    if (C >= 4) {
      tensor[1 % C] = x * inverse_r;
      tensor[2 % C] = y * inverse_r;
      tensor[3 % C] = z * inverse_r;
    }
    if (C >= 9) {
      const T ux = tensor[1 % C], uy = tensor[2 % C], uz = tensor[3 % C];
      tensor[4 % C] = ux * ux - T(1.0 / 3);
      tensor[5 % C] = ux * uy;
      tensor[6 % C] = ux * uz;
      tensor[7 % C] = uy * uy - T(1.0 / 3);
      tensor[8 % C] = uy * uz;
    }
    // cos(pi r / 2R) = sin(pi (R - r) / 2R)
    const T missing = (cutoff - r) / (T(2) * cutoff);
    T sine = T(0), cosine = T(0);
    if (missing > T(0)) sine_cosine_pi(missing, sine, cosine);
    envelope = sine * sine;
    envelope_slope = T(-3.14159265358979323846) / cutoff * sine * cosine;
  }

  EKD_DEVICE T sensitivity(T inverse_mu, T sigma) const {
    const T u = (inverse_r - inverse_mu) * sigma;
    return exponential(T(-0.5) * u * u) * envelope;
  }
  EKD_DEVICE T sensitivity(T inverse_mu, T sigma, T& slope) const {
    const T u = (inverse_r - inverse_mu) * sigma;
    const T bell = exponential(T(-0.5) * u * u);
    slope = bell * (u * sigma * (inverse_r * inverse_r * envelope) + envelope_slope);
    return bell * envelope;
  }

  // dE/d(vector) from dE/dr and dE/d(tensor components); component 0 is not used.
  EKD_DEVICE void gradient(T radial, const T* angular, T* out) const {
    if (C < 4) {
      out[0] = out[1] = out[2] = T(0);
      return;  // see gradient_along
    }
    const T ux = tensor[1 % C], uy = tensor[2 % C], uz = tensor[3 % C];
    T to_x = angular[1 % C], to_y = angular[2 % C], to_z = angular[3 % C];
    if (C >= 9) {
      to_x += T(2) * ux * angular[4 % C] + uy * angular[5 % C] + uz * angular[6 % C];
      to_y += ux * angular[5 % C] + T(2) * uy * angular[7 % C] + uz * angular[8 % C];
      to_z += ux * angular[6 % C] + uy * angular[8 % C];
    }
    // The component along the vector comes only from the length.
    const T along = to_x * ux + to_y * uy + to_z * uz;
    const T factor = radial - along * inverse_r;
    out[0] = factor * ux + to_x * inverse_r;
    out[1] = factor * uy + to_y * inverse_r;
    out[2] = factor * uz + to_z * inverse_r;
  }
};

// For models without tensors: along the vector.
template <class T>
EKD_DEVICE void gradient_along(T radial, T inverse_r, T x, T y, T z, T* out) {
  out[0] = radial * inverse_r * x;
  out[1] = radial * inverse_r * y;
  out[2] = radial * inverse_r * z;
}

}  // namespace ekd::device
