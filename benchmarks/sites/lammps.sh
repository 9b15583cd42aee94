#!/usr/bin/env bash
# lammps.sh FOLDER [bigbig | into]: LAMMPS from Debian's source, with PLUGIN, installed to /opt/lammps in
# the folder that debian.sh has made; to /opt/lammps-bigbig with 64-bit atom ids; to /opt/lammps-into
# with pair_style ekd compiled in.
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
[ ! -e "$folder$prefix/bin/lmp" ] || exit 0
chroot "$folder" env SIZES="$sizes" PREFIX="$prefix" INCLUDE="$include" sh -eu <<'IN'
mkdir -p /lammps && cd /lammps
# Where the mirror serves the archive without its description, apt complains and leaves the archive.
[ -e src/version.h ] || {
  apt-get source -qq --download-only lammps || true
  tar -xf lammps_*.orig.tar.* --strip-components=0
  [ -e src/version.h ] || mv */* . 2>/dev/null || true
}
cmake -S cmake -B "/build-$SIZES" -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_CXX_FLAGS_RELEASE=-O1 \
  -D CMAKE_INSTALL_PREFIX="$PREFIX" -D CMAKE_INSTALL_RPATH="$PREFIX/lib" -D LAMMPS_SIZES="$SIZES" -D BUILD_MPI=on -D BUILD_OMP=on \
  -D BUILD_SHARED_LIBS=on -D PKG_PLUGIN=on -D PKG_MOLECULE=on -D PKG_KSPACE=on \
  -D WITH_JPEG=off -D WITH_PNG=off -D WITH_CURL=off -D CMAKE_PROJECT_INCLUDE="$INCLUDE"
ninja -C "/build-$SIZES"
cmake --install "/build-$SIZES"
IN
