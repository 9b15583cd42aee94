// Communication of per-atom data to ghosts and back.
#include <cstring>

#include "comm.h"
#include "pair_ekd.h"

using namespace LAMMPS_NS;

namespace {

template <class T>
void add_row(T* row, const double* buffer, int width) {
  for (int w = 0; w < width; ++w) {
    T number;  // the buffer contains bytes of the row, independent of its own type
    std::memcpy(&number, reinterpret_cast<const char*>(buffer) + w * sizeof(T), sizeof(T));
    row[w] += number;
  }
}

}  // namespace

void PairEKD::copy_to_ghosts(ekd::AtomRows rows) {
  send(rows);
  comm->forward_comm(this, room_);
}

void PairEKD::add_from_ghosts(ekd::AtomRows rows) {
  send(rows);
  comm->reverse_comm(this, room_);
}

// Sizes of LAMMPS buffers are in units of double: two floats fit into one.
void PairEKD::send(const ekd::AtomRows& rows) {
  rows_ = rows;
  row_bytes_ = rows.width * (rows.is_single ? sizeof(float) : sizeof(double));
  room_ = static_cast<int>((row_bytes_ + sizeof(double) - 1) / sizeof(double));
}

char* PairEKD::row(int atom) { return static_cast<char*>(rows_.numbers) + atom * row_bytes_; }

int PairEKD::pack_forward_comm(int n, int* list, double* buffer, int, int*) {
  for (int k = 0; k < n; ++k) std::memcpy(buffer + k * room_, row(list[k]), row_bytes_);
  return n * room_;
}

void PairEKD::unpack_forward_comm(int n, int first, double* buffer) {
  for (int k = 0; k < n; ++k) std::memcpy(row(first + k), buffer + k * room_, row_bytes_);
}

int PairEKD::pack_reverse_comm(int n, int first, double* buffer) {
  for (int k = 0; k < n; ++k) std::memcpy(buffer + k * room_, row(first + k), row_bytes_);
  return n * room_;
}

void PairEKD::unpack_reverse_comm(int n, int* list, double* buffer) {
  for (int k = 0; k < n; ++k) {
    char* const to = row(list[k]);
    const int width = static_cast<int>(rows_.width);
    if (rows_.is_single)
      add_row(reinterpret_cast<float*>(to), buffer + k * room_, width);
    else
      add_row(reinterpret_cast<double*>(to), buffer + k * room_, width);
  }
}
