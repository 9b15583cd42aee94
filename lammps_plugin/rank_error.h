// Errors of one MPI rank.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "error.h"
#include "lammps.h"
#include "universe.h"

namespace ekd {

// Ends the run like Error::one(), and waits between the message and MPI_Abort().
//
// Error::one() prints the message and throws, and MPI_Abort() follows when LAMMPS catches the
// exception. The launcher of MPICH (hydra) exits at once on MPI_Abort(); it discards output that it
// has not yet read, so that the message could be lost.
[[noreturn]] inline void end_rank(LAMMPS_NS::LAMMPS* lmp, const std::string& file, int line,
                                  const std::string& message) {
  struct Pause {
    const bool is_needed;
    ~Pause() {
      if (is_needed) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
  };
  [[maybe_unused]] const Pause pause{lmp->universe->nprocs > 1};
  lmp->error->one(file, line, message);
}

}  // namespace ekd
