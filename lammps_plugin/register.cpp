// Registers the style in the table of pair styles, for a LAMMPS without plugins.
#include "register.h"

#include "force.h"
#include "lammps.h"
#include "library.h"
#include "pair_ekd.h"

namespace {

LAMMPS_NS::Pair* create(LAMMPS_NS::LAMMPS* lmp) { return new LAMMPS_NS::PairEKD(lmp); }

#ifdef EKD_KOKKOS
template <bool kOnHost>
LAMMPS_NS::Pair* create_kokkos(LAMMPS_NS::LAMMPS* lmp) {
  return static_cast<LAMMPS_NS::Pair*>(ekd_create_pair_kokkos(lmp, kOnHost));
}
#endif

}  // namespace

int ekd_register(void* lmp) {
  const int version = lammps_version(lmp);
  if (version != EKD_LAMMPS_VERSION) return version;
  auto& styles = *static_cast<LAMMPS_NS::LAMMPS*>(lmp)->force->pair_map;
  styles["ekd"] = &create;
#ifdef EKD_KOKKOS
  styles["ekd/kk"] = styles["ekd/kk/device"] = &create_kokkos<false>;
  styles["ekd/kk/host"] = &create_kokkos<true>;
#endif
  return 0;
}
