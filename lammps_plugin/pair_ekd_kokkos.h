// pair_style ekd/kk: pair_style ekd with atoms in the memory of the package KOKKOS. It has no
// additional settings. See docs/pair_ekd.md.

// Used by LAMMPS to register the style if it is compiled into LAMMPS.
#ifdef PAIR_CLASS
// clang-format off
PairStyle(ekd/kk,PairEKDKokkos<LMPDeviceType>);
PairStyle(ekd/kk/device,PairEKDKokkos<LMPDeviceType>);
PairStyle(ekd/kk/host,PairEKDKokkos<LMPHostType>);
// clang-format on
#else

#ifndef LMP_PAIR_EKD_KOKKOS_H
#define LMP_PAIR_EKD_KOKKOS_H

#include <cstdint>
#include <string>
#include <vector>

#include "ekd/device_rows.hpp"
#include "kokkos_base.h"
#include "kokkos_kernels.h"
#include "kokkos_type.h"
#include "pair_ekd.h"

namespace LAMMPS_NS {

// The type of a communication buffer, whose name differs between versions of LAMMPS.
template <class Base, class List, class Buffer>
Buffer buffer_of(int (Base::*)(int, List, Buffer&, int, int*));
using CommBufferKokkos = decltype(buffer_of(&KokkosBase::pack_forward_comm_kokkos));

template <class DeviceType>
class PairEKDKokkos : public PairEKD, public KokkosBase {
 public:
  using device_type = DeviceType;

  explicit PairEKDKokkos(class LAMMPS*);

  void init_style() override;
  void compute(int, int) override;
  void finish() override;
  double memory_usage() override;

  int pack_forward_comm_kokkos(int, DAT::tdual_int_1d, CommBufferKokkos&, int, int*) override;
  void unpack_forward_comm_kokkos(int, int, CommBufferKokkos&) override;
  int pack_reverse_comm_kokkos(int, int, CommBufferKokkos&) override;
  void unpack_reverse_comm_kokkos(int, DAT::tdual_int_1d, CommBufferKokkos&) override;

  // Used if LAMMPS communicates through the host: with comm_style tiled, with 'package kokkos
  // comm/pair/forward host', and in ekd/kk/host.
  int pack_forward_comm(int, int*, double*, int, int*) override;
  void unpack_forward_comm(int, int, double*) override;
  int pack_reverse_comm(int, int, double*) override;
  void unpack_reverse_comm(int, int*, double*) override;

 private:
  template <class T>
  using Array = ekd::kokkos::Array<T, DeviceType>;

  // Called by the model to exchange rows.
  class Exchange final : public ekd::DeviceExchange {
   public:
    explicit Exchange(PairEKDKokkos& pair) : pair_(pair) {}
    bool is_needed() const override { return pair_.shows_ghosts(); }
    void copy_to_ghosts(void* rows, std::int64_t width, bool is_single) override {
      if (is_needed()) pair_.exchange(Direction::kToGhosts, rows, width, is_single);
    }

   private:
    PairEKDKokkos& pair_;
  };
  enum class Direction { kToGhosts, kFromGhosts };

  std::string device_of(const Settings&) const override;
  void compute_on_device() override;
  void each_listed_pair(const std::function<void(int, int)>& act) override;
  bool has_unsound_forces(double limit) override;
  std::vector<double> own_forces() override;
  void watch_list() override;
  // Rows in host memory: results of a committee.
  void copy_to_ghosts(ekd::AtomRows rows) override;
  void add_from_ghosts(ekd::AtomRows rows) override;

  void exchange(Direction direction, void* rows, std::int64_t width, bool is_single);
  void show_rows_to_host();
  template <class T>
  int stride() const;

  void set_type_tables();
  ekd::DeviceAtoms gather_atoms();
  void find_owners_on_device();
  void evaluate(const ekd::DeviceAtoms& atoms, ekd::DeviceResults results);
  void tell_spread(double scale);
  void tally_energies_on_device(const double* energies);
  void tally_forces_on_device(double* forces);
  void tally_virial(const double* virial);
  void tally_atomic_virials(double* virials, int width, double** to);

  // By atom type: [ntypes + 1], with the host arrays that they were copied from.
  std::vector<int> host_species_of_type_;
  std::vector<double> host_zero_of_type_;
  Array<int> species_of_type_there_;
  Array<double> zero_of_type_;

  // Tables of close pairs by pair of elements; see CloseCounter.
  Array<double> limits_there_, closest_there_, reach_there_;
  Array<int> close_counts_there_;

  Array<double> positions_;  // if LAMMPS does not use double
  Array<int> species_, counts_, owners_there_;
  Array<double> names_there_;  // identity of owners, sent to ghosts
  Array<double> energies_, forces_, virial_, atomic_virials_, centroid_virials_, uncertainty_there_;
  Array<double> atomic_energies_;                  // in the convention of LAMMPS
  Array<double> member_energies_, member_forces_;  // of one member, if the spread is requested
  std::vector<double> host_energies_, host_forces_, host_virials_;

  // Rows being exchanged, if they are in the memory of KOKKOS; see PairEKD::send.
  void* rows_there_ = nullptr;
  bool host_has_rows_ = false;  // whether the valid copy is on the host
  std::vector<char> host_rows_;
};

}  // namespace LAMMPS_NS

#endif
#endif
