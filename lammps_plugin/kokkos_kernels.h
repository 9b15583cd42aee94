// KOKKOS kernels of pair_style ekd/kk, except those of the model.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace ekd::kokkos {

template <class DeviceType>
inline constexpr bool kIsHost =
    Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename DeviceType::memory_space>::accessible;

template <class DeviceType>
using Range = Kokkos::RangePolicy<DeviceType, Kokkos::IndexType<std::int64_t>>;

// ---- memory ---------------------------------------------------------------------------------

// An array that grows and never shrinks. Growing discards its content.
template <class T, class DeviceType>
class Array {
 public:
  T* reserve(std::size_t n) {
    if (n > view_.extent(0)) {
      view_ = {};
      view_ = View(Kokkos::view_alloc(Kokkos::WithoutInitializing, "ekd"), n + n / 16);
    }
    return view_.data();
  }
  T* reserve_cleared(std::size_t n) {
    reserve(n);
    if (n > 0) Kokkos::deep_copy(Kokkos::subview(view_, std::make_pair(std::size_t{0}, n)), T{});
    return view_.data();
  }
  T* data() const { return view_.data(); }
  double bytes() const { return static_cast<double>(view_.extent(0) * sizeof(T)); }

 private:
  using View = Kokkos::View<T*, DeviceType>;
  View view_;
};

template <class DeviceType>
void to_host(void* to, const void* from, std::size_t bytes) {
  using Space = typename DeviceType::memory_space;
  using Unmanaged = Kokkos::MemoryTraits<Kokkos::Unmanaged>;
  if (bytes == 0) return;
  Kokkos::deep_copy(
      Kokkos::View<char*, Kokkos::HostSpace, Unmanaged>(static_cast<char*>(to), bytes),
      Kokkos::View<const char*, Space, Unmanaged>(static_cast<const char*>(from), bytes));
}

template <class DeviceType>
void from_host(void* to, const void* from, std::size_t bytes) {
  using Space = typename DeviceType::memory_space;
  using Unmanaged = Kokkos::MemoryTraits<Kokkos::Unmanaged>;
  if (bytes == 0) return;
  Kokkos::deep_copy(Kokkos::View<char*, Space, Unmanaged>(static_cast<char*>(to), bytes),
                    Kokkos::View<const char*, Kokkos::HostSpace, Unmanaged>(
                        static_cast<const char*>(from), bytes));
}

// Whether a view has the layout of a row-major array [n, width] of double.
template <class View>
bool is_plain(const View& view, std::size_t width) {
  return std::is_same_v<typename View::non_const_value_type, double> && view.stride(0) == width &&
         view.stride(1) == 1;
}

// ---- atoms and neighbors --------------------------------------------------------------------

template <class DeviceType>
void set_species(int n, const int* types, const int* species_of_type, int* species) {
  Kokkos::parallel_for(
      "ekd: species", Range<DeviceType>(0, n),
      KOKKOS_LAMBDA(const std::int64_t i) { species[i] = species_of_type[types[i]]; });
}

// Numbers of neighbors of the atoms of a list. mask: the mask of LAMMPS, to give atoms outside of
// `group` no neighbors; or null.
template <class DeviceType>
void set_counts(int n, const int* atoms, const int* n_neighbors, const int* mask, int group,
                int* counts) {
  Kokkos::parallel_for(
      "ekd: numbers of neighbors", Range<DeviceType>(0, n), KOKKOS_LAMBDA(const std::int64_t k) {
        const int i = atoms[k];
        const bool is_left_out = mask != nullptr && (mask[i] & group) == 0;
        counts[i] = is_left_out ? 0 : n_neighbors[i];
      });
}

template <class DeviceType>
int largest(int n, const int* numbers) {
  int found = 0;
  Kokkos::parallel_reduce(
      "ekd: most neighbors", Range<DeviceType>(0, n),
      KOKKOS_LAMBDA(const std::int64_t i, int& most) {
        if (numbers[i] > most) most = numbers[i];
      },
      Kokkos::Max<int>(found));
  return n > 0 ? found : 0;
}

// Sets rank and index of owned atoms in rows [n_all, 2], which ghosts receive from their owners.
template <class DeviceType>
void name_owned(int n_owned, int rank, double* rows) {
  Kokkos::parallel_for(
      "ekd: names of atoms", Range<DeviceType>(0, n_owned), KOKKOS_LAMBDA(const std::int64_t i) {
        rows[2 * i] = rank;
        rows[2 * i + 1] = static_cast<double>(i);
      });
}

// Sets the owners from these rows. Ghosts with owners on other ranks are their own owners.
template <class DeviceType>
void set_owners(int n_all, int rank, const double* rows, int* owners) {
  Kokkos::parallel_for(
      "ekd: owners", Range<DeviceType>(0, n_all), KOKKOS_LAMBDA(const std::int64_t i) {
        const bool is_here = rows[2 * i] == rank;
        owners[i] = is_here ? static_cast<int>(rows[2 * i + 1]) : static_cast<int>(i);
      });
}

template <class DeviceType, class View>
void copy_positions(int n, const View& x, double* positions) {
  Kokkos::parallel_for(
      "ekd: positions", Range<DeviceType>(0, n), KOKKOS_LAMBDA(const std::int64_t i) {
        for (int d = 0; d < 3; ++d) positions[3 * i + d] = x(i, d);
      });
}

// ---- results --------------------------------------------------------------------------------

template <class DeviceType>
void add(std::int64_t n, const double* numbers, double* to) {
  Kokkos::parallel_for(
      "ekd: sum over members", Range<DeviceType>(0, n),
      KOKKOS_LAMBDA(const std::int64_t k) { to[k] += numbers[k]; });
}

template <class DeviceType, class View>
void add_forces(int n, const double* forces, const View& f) {
  Kokkos::parallel_for(
      "ekd: forces", Range<DeviceType>(0, n), KOKKOS_LAMBDA(const std::int64_t i) {
        for (int d = 0; d < 3; ++d) f(i, d) += forces[3 * i + d];
      });
}

struct EnergyFound {
  double sum = 0.0;
  int not_finite = -1;  // an atom whose energy is not finite
};

// Sums the energies of the n atoms of a list in the convention of LAMMPS: relative to the zero of
// their type, without types that have no species. Sets of_atoms to those of each atom, if not null.
template <class DeviceType>
EnergyFound count_energies(int n, const int* atoms, const int* types, const int* species,
                           const int* counts, const double* zero_of_type, bool is_relative,
                           const double* energies, double* of_atoms) {
  EnergyFound found;
  Kokkos::parallel_reduce(
      "ekd: energies", Range<DeviceType>(0, n),
      KOKKOS_LAMBDA(const std::int64_t k, double& sum, int& not_finite) {
        const int i = atoms[k];
        // Without neighbors, it is a free atom: avoid rounding errors.
        const bool is_free = is_relative && counts[i] == 0;
        if (species[i] < 0 || is_free) return;
        const double energy = energies[i] - zero_of_type[types[i]];
        sum += energy;
        if (of_atoms != nullptr) of_atoms[i] = energy;
        if (!Kokkos::isfinite(energy)) not_finite = i;
      },
      Kokkos::Sum<double>(found.sum), Kokkos::Max<int>(found.not_finite));
  if (n == 0) found = {};
  return found;
}

// Number of the first n rows of three numbers whose norm exceeds `most` or is NaN.
template <class DeviceType, class View>
int count_unsound(int n, const View& rows, double most) {
  int found = 0;
  const double largest = most < 1e150 ? most * most : most;
  Kokkos::parallel_reduce(
      "ekd: unsound forces", Range<DeviceType>(0, n),
      KOKKOS_LAMBDA(const std::int64_t i, int& count) {
        const double x = rows(i, 0), y = rows(i, 1), z = rows(i, 2);
        if (!(x * x + y * y + z * z <= largest)) ++count;
      },
      found);
  return found;
}

// For pairs of owned atoms within the reach of the species of the center: the closest pair of each
// pair of elements, and the number of pairs below the limit. Squared distances, in tables
// [n_species, n_species].
template <class DeviceType, class Neighbors, class Positions>
void count_close(int n, const int* n_neighbors, const Neighbors& neighbors, const Positions& x,
                 const int* species, int n_species, const double* reach, const double* limits,
                 double* closest, int* counts) {
  constexpr int kMask = 0x1FFFFFFF;  // NEIGHMASK of LAMMPS
  Kokkos::parallel_for(
      "ekd: close pairs", Range<DeviceType>(0, n), KOKKOS_LAMBDA(const std::int64_t i) {
        if (species[i] < 0) return;
        for (int k = 0; k < n_neighbors[i]; ++k) {
          const int j = neighbors(i, k) & kMask;
          if (species[j] < 0) continue;
          const double rx = x(j, 0) - x(i, 0), ry = x(j, 1) - x(i, 1), rz = x(j, 2) - x(i, 2);
          const double squared = rx * rx + ry * ry + rz * rz;
          if (squared >= reach[species[i]]) continue;
          const int row = species[i] * n_species + species[j];
          if (squared < closest[row]) Kokkos::atomic_min(&closest[row], squared);
          if (squared < limits[row]) Kokkos::atomic_inc(&counts[row]);
        }
      });
}

// ---- rows of atoms in the buffers of LAMMPS -------------------------------------------------
// Row k of a buffer begins at k * stride, in units of T.

template <class DeviceType, class T>
void pack(int n, const int* atoms, int first, const T* rows, int width, T* buffer, int stride) {
  Kokkos::parallel_for(
      "ekd: pack", Range<DeviceType>(0, static_cast<std::int64_t>(n) * width),
      KOKKOS_LAMBDA(const std::int64_t index) {
        const std::int64_t k = index / width, w = index % width;
        const std::int64_t i = atoms != nullptr ? atoms[k] : first + k;
        buffer[k * stride + w] = rows[i * width + w];
      });
}

template <class DeviceType, class T>
void unpack(int n, int first, const T* buffer, int stride, T* rows, int width) {
  Kokkos::parallel_for(
      "ekd: unpack", Range<DeviceType>(0, static_cast<std::int64_t>(n) * width),
      KOKKOS_LAMBDA(const std::int64_t index) {
        const std::int64_t k = index / width, w = index % width;
        rows[(first + k) * width + w] = buffer[k * stride + w];
      });
}

// No atom may occur twice in `atoms`.
template <class DeviceType, class T>
void unpack_sums(int n, const int* atoms, const T* buffer, int stride, T* rows, int width) {
  Kokkos::parallel_for(
      "ekd: unpack sums", Range<DeviceType>(0, static_cast<std::int64_t>(n) * width),
      KOKKOS_LAMBDA(const std::int64_t index) {
        const std::int64_t k = index / width, w = index % width;
        rows[static_cast<std::int64_t>(atoms[k]) * width + w] += buffer[k * stride + w];
      });
}

}  // namespace ekd::kokkos
