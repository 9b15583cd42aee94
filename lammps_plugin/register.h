// The style for a LAMMPS that loads no plugins.
#pragma once

#define EKD_LAMMPS_EXPORT extern "C" __attribute__((visibility("default")))

// Makes `pair_style ekd`, and ekd/kk where it was built, known to an instance of LAMMPS (the handle
// of its library interface), until a `clear` command. Returns 0, or the version of that LAMMPS if
// the style was built for another one: nothing has happened then.
EKD_LAMMPS_EXPORT int ekd_register(void* lmp);

// New styles, as Pair*; see ekd_register. The second is there where EKD_KOKKOS is defined.
EKD_LAMMPS_EXPORT void* ekd_create_pair(void* lmp);
EKD_LAMMPS_EXPORT void* ekd_create_pair_kokkos(void* lmp, bool on_host);
