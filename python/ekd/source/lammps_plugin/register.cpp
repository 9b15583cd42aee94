// The style for a LAMMPS that loads no plugins: entered in its table of pair styles.
#include "register.h"

#include "force.h"
#include "lammps.h"
#include "library.h"
#include "pair_ekd.h"

namespace {

LAMMPS_NS::Pair* create(LAMMPS_NS::LAMMPS* lmp) { return new LAMMPS_NS::PairEKD(lmp); }

}  // namespace

int ekd_register(void* lmp) {
  const int version = lammps_version(lmp);
  if (version != EKD_LAMMPS_VERSION) return version;
  (*static_cast<LAMMPS_NS::LAMMPS*>(lmp)->force->pair_map)["ekd"] = &create;
  return 0;
}
