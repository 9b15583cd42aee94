// lmp-ekd: `lmp` with pair_style ekd, for a LAMMPS without the package PLUGIN.
#include <dlfcn.h>
#include <mpi.h>

#include <cstdio>
#include <exception>

#include "exceptions.h"
#include "input.h"
#include "lammps.h"
#include "library.h"
#include "register.h"

using namespace LAMMPS_NS;

namespace {

// Registers the style; ends all ranks if it was built for another LAMMPS.
void enter(LAMMPS* lmp) {
  const int other = ekd_register(lmp);
  if (other == 0) return;
  std::fprintf(stderr,
               "lmp-ekd was built for LAMMPS version %d, but the library that was found is "
               "version %d; build it for this one with 'ekd lammps build'\n",
               EKD_LAMMPS_VERSION, other);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

}  // namespace

// LAMMPS calls this after creating its table of styles, at the start and for the command `clear`.
// The dynamic linker finds this function before that of LAMMPS.
__attribute__((visibility("default"))) void LAMMPS::post_create() {
  static auto* const original =
      reinterpret_cast<void (*)(LAMMPS*)>(dlsym(RTLD_NEXT, "_ZN9LAMMPS_NS6LAMMPS11post_createEv"));
  enter(this);
  if (original != nullptr) original(this);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int status = 0;
  try {
    auto* const lmp = new LAMMPS(argc, argv, MPI_COMM_WORLD);
    enter(lmp);  // again, in case the library does not use the function above
    lmp->input->file();
    delete lmp;
  } catch (const LAMMPSAbortException& error) {
    MPI_Abort(error.get_universe(), 1);
  } catch (const LAMMPSException&) {
    status = 1;  // reported already, on all ranks
  } catch (const std::exception& error) {
    std::fprintf(stderr, "Exception: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  lammps_kokkos_finalize();
  lammps_python_finalize();
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
  return status;
}
