// The style for a LAMMPS that loads no plugins.
#pragma once

#define EKD_LAMMPS_EXPORT extern "C" __attribute__((visibility("default")))

// Makes `pair_style ekd` known to an instance of LAMMPS (the handle of its library interface),
// until a `clear` command. Returns 0, or the version of that LAMMPS if the style was built for
// another one: nothing has happened then.
EKD_LAMMPS_EXPORT int ekd_register(void* lmp);
