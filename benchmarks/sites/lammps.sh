#!/usr/bin/env bash
# lammps.sh FOLDER [bigbig | into | kokkos]: LAMMPS from Debian's source, with PLUGIN, installed to
# /opt/lammps in the folder that debian.sh has made; to /opt/lammps-bigbig with 64-bit atom ids; to
# /opt/lammps-into with pair_style ekd compiled in; to /opt/lammps-kokkos with the package KOKKOS and its
# OpenMP backend.
set -euo pipefail
folder=$(realpath "$1")
kind=${2:-smallbig}
prefix=/opt/lammps
[ "$kind" = smallbig ] || prefix=/opt/lammps-$kind
sizes=smallbig
[ "$kind" != bigbig ] || sizes=bigbig
include=
[ "$kind" != into ] ||
  include=$(realpath "$(dirname "$0")/../../lammps_plugin/cmake/IntoLammps.cmake")
build=/build-$sizes
packages=
if [ "$kind" = kokkos ]; then
  build=/build-kokkos
  packages="-D PKG_KOKKOS=on -D EXTERNAL_KOKKOS=on -D Kokkos_ENABLE_OPENMP=on -D CMAKE_CXX_STANDARD=20"
  packages="$packages -D PKG_MC=on -D PKG_EXTRA-FIX=on" # for the tests of the style
fi
[ ! -e "$folder$prefix/bin/lmp" ] || exit 0
cd "$(dirname "$0")" # exists in the site too
./enter.sh "$folder" env SIZES="$sizes" PREFIX="$prefix" INCLUDE="$include" BUILD="$build" PACKAGES="$packages" \
  sh -eu <<'IN'
[ -z "$PACKAGES" ] || {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libkokkos-dev
  # Its CMake files name two archives that Debian's package (5.2.2-2) lacks: of headers alone, so
  # that empty ones will do.
  cd "/usr/lib/$(gcc -dumpmachine)"
  for name in kokkosalgorithms kokkossimd; do
    [ -e "lib$name.a" ] || { echo "int ekd_empty_$name;" | gcc -x c -c - -o e.o; ar rcs "lib$name.a" e.o; rm e.o; }
  done
}
mkdir -p /lammps && cd /lammps
# Where the mirror serves the archive without its description, apt complains and leaves the archive.
[ -e src/version.h ] || {
  apt-get source -qq --download-only lammps || true
  tar -xf lammps_*.orig.tar.* --strip-components=0
  [ -e src/version.h ] || mv */* . 2>/dev/null || true
}
# shellcheck disable=SC2086
cmake -S cmake -B "$BUILD" $PACKAGES -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_CXX_FLAGS_RELEASE=-O1 \
  -D CMAKE_INSTALL_PREFIX="$PREFIX" -D CMAKE_INSTALL_RPATH="$PREFIX/lib" -D LAMMPS_SIZES="$SIZES" -D BUILD_MPI=on -D BUILD_OMP=on \
  -D BUILD_SHARED_LIBS=on -D PKG_PLUGIN=on -D PKG_MOLECULE=on -D PKG_KSPACE=on \
  -D WITH_JPEG=off -D WITH_PNG=off -D WITH_CURL=off -D CMAKE_PROJECT_INCLUDE="$INCLUDE"
ninja -C "$BUILD"
cmake --install "$BUILD"
IN
