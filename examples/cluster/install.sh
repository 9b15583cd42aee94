#!/usr/bin/env bash
# ekd for molecular dynamics on a cluster: no torch, no root.
#
#     bash install.sh SOURCE PREFIX [lmp [mpirun]]
#
# SOURCE is a checkout of ekd. PREFIX gets a virtual environment and `pair_style ekd` for the LAMMPS
# that is loaded. It needs Python 3.11, CMake 3.24, a C++20 compiler, and the MPI of that LAMMPS. For
# training as well: pip install '.[train]' into that environment, then `ekd torch build` in it.
set -euo pipefail

source=${1:?the source of ekd}
prefix=${2:?where everything goes}
lmp=${3:-lmp}
mpirun=${4:-mpirun}

# module load lammps openmpi gcc cmake python      # as your cluster calls them

python3 -m venv "$prefix/python"
"$prefix/python/bin/pip" install scikit-build-core pybind11 numpy ase typer rich
"$prefix/python/bin/pip" install --no-build-isolation --no-deps "$source" \
  -C cmake.define.EKD_BUILD_TORCH=OFF -C cmake.define.EKD_BUILD_LAMMPS_PLUGIN=OFF
"$prefix/python/bin/ekd" lammps build --lmp "$lmp" --mpirun "$mpirun" --output "$prefix/lammps"
