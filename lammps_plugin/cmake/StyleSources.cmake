# The sources of pair_style ekd, for all ways of adding it to LAMMPS.
set(EKD_STYLE_SOURCES
  committee_spread.cpp
  pair_ekd.cpp
  pair_ekd_checks.cpp
  pair_ekd_device.cpp
  pair_ekd_exchange.cpp
  pair_ekd_outputs.cpp
  pair_ekd_settings.cpp
  pair_ekd_step.cpp
  torch_loader.cpp)

# The same for ekd/kk.
set(EKD_STYLE_KOKKOS_SOURCES pair_ekd_kokkos.cpp pair_ekd_kokkos_exchange.cpp)
