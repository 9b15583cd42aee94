// Communication of per-atom data to ghosts and back, on the device.
#include "atom_kokkos.h"
#include "atom_masks.h"
#include "comm.h"
#include "pair_ekd_kokkos.h"
#include "temporary_value.h"

using namespace LAMMPS_NS;
namespace kk = ekd::kokkos;

// Rows in the memory of KOKKOS.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::exchange(Direction direction, void* rows, std::int64_t width,
                                         bool is_single) {
  if (is_single)
    send({static_cast<float*>(rows), width});
  else
    send({static_cast<double*>(rows), width});
  rows_there_ = rows;
  host_has_rows_ = false;
  {
    constexpr bool is_default = std::is_same_v<DeviceType, LMPDeviceType>;
    // LAMMPS uses this to select the communication path.
    const ekd::TemporaryValue where(execution_space, is_default ? Device : Host);
    Kokkos::fence("ekd: rows to exchange");  // the model uses its own stream
    if (direction == Direction::kToGhosts)
      comm->forward_comm(this, room_);
    else
      comm->reverse_comm(this, room_);
  }
  if (host_has_rows_) kk::from_host<DeviceType>(rows, host_rows_.data(), host_rows_.size());
  rows_there_ = nullptr;
  host_has_rows_ = false;
  Kokkos::fence("ekd: rows that have been exchanged");
}

// Copies rows to the host before LAMMPS packs or unpacks them there.
template <class DeviceType>
void PairEKDKokkos<DeviceType>::show_rows_to_host() {
  if (rows_there_ == nullptr || host_has_rows_) return;
  if constexpr (!kk::kIsHost<DeviceType>) {
    host_rows_.resize((atom->nlocal + atom->nghost) * row_bytes_);
    kk::to_host<DeviceType>(host_rows_.data(), rows_there_, host_rows_.size());
    rows_.numbers = host_rows_.data();
    host_has_rows_ = true;
  }
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::copy_to_ghosts(ekd::AtomRows rows) {
  const ekd::TemporaryValue where(execution_space, Host);
  PairEKD::copy_to_ghosts(rows);
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::add_from_ghosts(ekd::AtomRows rows) {
  const ekd::TemporaryValue where(execution_space, Host);
  PairEKD::add_from_ghosts(rows);
}

// Stride of the rows of a buffer, in units of T.
template <class DeviceType>
template <class T>
int PairEKDKokkos<DeviceType>::stride() const {
  return room_ * static_cast<int>(sizeof(double) / sizeof(T));
}

namespace {

// Calls `step` with the rows and the buffer cast to the type of the rows.
template <class Step>
void with_type(const ekd::AtomRows& rows, double* buffer, const Step& step) {
  if (rows.is_single)
    step(static_cast<float*>(rows.numbers), reinterpret_cast<float*>(buffer));
  else
    step(static_cast<double*>(rows.numbers), buffer);
}

}  // namespace

template <class DeviceType>
int PairEKDKokkos<DeviceType>::pack_forward_comm_kokkos(int n, DAT::tdual_int_1d list,
                                                        CommBufferKokkos& buffer, int, int*) {
  const int* const atoms = list.view<DeviceType>().data();
  with_type(rows_, buffer.template view<DeviceType>().data(), [&](auto* rows, auto* to) {
    using T = std::remove_pointer_t<decltype(rows)>;
    kk::pack<DeviceType>(n, atoms, 0, rows, static_cast<int>(rows_.width), to, stride<T>());
  });
  return n * room_;
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::unpack_forward_comm_kokkos(int n, int first,
                                                           CommBufferKokkos& buffer) {
  with_type(rows_, buffer.template view<DeviceType>().data(), [&](auto* rows, auto* from) {
    using T = std::remove_pointer_t<decltype(rows)>;
    kk::unpack<DeviceType>(n, first, from, stride<T>(), rows, static_cast<int>(rows_.width));
  });
}

template <class DeviceType>
int PairEKDKokkos<DeviceType>::pack_reverse_comm_kokkos(int n, int first,
                                                        CommBufferKokkos& buffer) {
  with_type(rows_, buffer.template view<DeviceType>().data(), [&](auto* rows, auto* to) {
    using T = std::remove_pointer_t<decltype(rows)>;
    const int* const in_a_row = nullptr;
    kk::pack<DeviceType>(n, in_a_row, first, rows, static_cast<int>(rows_.width), to, stride<T>());
  });
  return n * room_;
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::unpack_reverse_comm_kokkos(int n, DAT::tdual_int_1d list,
                                                           CommBufferKokkos& buffer) {
  const int* const atoms = list.view<DeviceType>().data();
  with_type(rows_, buffer.template view<DeviceType>().data(), [&](auto* rows, auto* from) {
    using T = std::remove_pointer_t<decltype(rows)>;
    kk::unpack_sums<DeviceType>(n, atoms, from, stride<T>(), rows, static_cast<int>(rows_.width));
  });
}

template <class DeviceType>
int PairEKDKokkos<DeviceType>::pack_forward_comm(int n, int* list, double* buffer, int pbc_flag,
                                                 int* pbc) {
  show_rows_to_host();
  return PairEKD::pack_forward_comm(n, list, buffer, pbc_flag, pbc);
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::unpack_forward_comm(int n, int first, double* buffer) {
  show_rows_to_host();
  PairEKD::unpack_forward_comm(n, first, buffer);
}

template <class DeviceType>
int PairEKDKokkos<DeviceType>::pack_reverse_comm(int n, int first, double* buffer) {
  show_rows_to_host();
  return PairEKD::pack_reverse_comm(n, first, buffer);
}

template <class DeviceType>
void PairEKDKokkos<DeviceType>::unpack_reverse_comm(int n, int* list, double* buffer) {
  show_rows_to_host();
  PairEKD::unpack_reverse_comm(n, list, buffer);
}

namespace LAMMPS_NS {
template class PairEKDKokkos<LMPDeviceType>;
#ifdef LMP_KOKKOS_GPU
template class PairEKDKokkos<LMPHostType>;
#endif
}  // namespace LAMMPS_NS
