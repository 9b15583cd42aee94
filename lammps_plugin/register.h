// Registration of the style in a LAMMPS without plugins.
#pragma once

#define EKD_LAMMPS_EXPORT extern "C" __attribute__((visibility("default")))

// Registers `pair_style ekd`, and ekd/kk if built, in an instance of LAMMPS (the handle of its
// library interface), until a `clear` command. Returns 0; or, if the style was built for another
// LAMMPS, does nothing and returns the version of this one.
EKD_LAMMPS_EXPORT int ekd_register(void* lmp);

// New styles, as Pair*; see ekd_register. The second one requires EKD_KOKKOS.
EKD_LAMMPS_EXPORT void* ekd_create_pair(void* lmp);
EKD_LAMMPS_EXPORT void* ekd_create_pair_kokkos(void* lmp, bool on_host);
