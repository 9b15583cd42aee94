// Pipelined copies of arrays between host and device: while one piece is copied, the host fills or
// reads the next.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "device.hpp"

namespace ekd::device {

class Staging {
 public:
  explicit Staging(std::shared_ptr<Device> device) : device_(std::move(device)) {
    for (Piece& piece : pieces_) piece.mark = device_->make_mark();
  }
  ~Staging() {
    for (Piece& piece : pieces_) {
      try {
        wait_for(piece);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
        // The device has failed: no copies are pending.
      }
      if (piece.memory != nullptr) device_->release_host(piece.memory);
    }
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // fill(first, n, memory) writes the elements first .. first + n - 1. Asynchronous; later
  // operations on the device see the data.
  // at_a_time: elements per piece; 0: a default for arrays that are copied.
  template <class T, class Fill>
  void upload(T* to, std::size_t n, const Fill& fill, std::size_t at_a_time = 0) {
    const std::size_t step = at_a_time > 0 ? at_a_time : kPieceBytes / sizeof(T);
    for (std::size_t first = 0; first < n; first += step) {
      const std::size_t here = std::min(step, n - first);
      Piece& piece = next(here * sizeof(T));
      fill(first, here, static_cast<T*>(piece.memory));
      device_->send(to + first, piece.memory, here * sizeof(T));
      piece.mark->set();
      piece.is_on_its_way = true;
    }
  }
  template <class T>
  void upload(T* to, const T* from, std::size_t n) {
    upload(to, n, [from](std::size_t first, std::size_t here, T* memory) {
      std::memcpy(memory, from + first, here * sizeof(T));
    });
  }

  // use(first, n, memory) reads them, in order.
  template <class T, class Use>
  void download(const T* from, std::size_t n, const Use& use) {
    const std::size_t step = kPieceBytes / sizeof(T);
    std::size_t asked = 0;
    std::array<std::size_t, kPieces> firsts{};
    std::size_t oldest = next_;
    for (std::size_t read = 0; read < n;) {
      // All pieces may be in flight at once.
      while (asked < n && asked - read < kPieces * step) {
        const std::size_t here = std::min(step, n - asked);
        firsts[next_] = asked;
        Piece& piece = next(here * sizeof(T));
        device_->fetch(piece.memory, from + asked, here * sizeof(T));
        piece.mark->set();
        piece.is_on_its_way = true;
        asked += here;
      }
      Piece& piece = pieces_[oldest];
      wait_for(piece);
      const std::size_t here = std::min(step, n - firsts[oldest]);
      use(firsts[oldest], here, static_cast<const T*>(piece.memory));
      read += here;
      oldest = (oldest + 1) % kPieces;
    }
  }
  template <class T>
  void download(T* to, const T* from, std::size_t n) {
    download(from, n, [to](std::size_t first, std::size_t here, const T* memory) {
      std::memcpy(to + first, memory, here * sizeof(T));
    });
  }

 private:
  static constexpr std::size_t kPieces = 3;
  static constexpr std::size_t kPieceBytes = std::size_t(1) << 20;

  struct Piece {
    void* memory = nullptr;
    std::size_t bytes = 0;
    std::unique_ptr<Mark> mark;
    bool is_on_its_way = false;
  };

  static void wait_for(Piece& piece) {
    if (piece.is_on_its_way) piece.mark->wait();
    piece.is_on_its_way = false;
  }

  // The next piece, with at least this size and no pending copy.
  Piece& next(std::size_t bytes) {
    Piece& piece = pieces_[next_];
    next_ = (next_ + 1) % kPieces;
    wait_for(piece);
    if (bytes > piece.bytes) {
      if (piece.memory != nullptr) device_->release_host(piece.memory);
      piece.memory = nullptr;
      piece.bytes = 0;
      piece.memory = device_->allocate_host(bytes);
      piece.bytes = bytes;
    }
    return piece;
  }

  std::shared_ptr<Device> device_;
  std::array<Piece, kPieces> pieces_;
  std::size_t next_ = 0;
};

}  // namespace ekd::device
