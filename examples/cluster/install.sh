#!/usr/bin/env bash
# ekd for molecular dynamics on a cluster: no torch, no root.
#
#     bash install.sh SOURCE PREFIX [lmp [mpirun]]
#
# SOURCE is a checkout of ekd. A virtual environment and `pair_style ekd` for the loaded LAMMPS are
# installed in PREFIX. This needs Python 3.11, CMake 3.24, a C++20 compiler, and the MPI of that LAMMPS.
# For training, also run pip install '.[train]' in that environment, then `ekd torch build`.
set -euo pipefail

source=${1:?the source of ekd}
prefix=${2:?where everything goes}
lmp=${3:-lmp}
mpirun=${4:-mpirun}

# module load lammps openmpi gcc cmake python      # names as on your cluster

python3 -m venv "$prefix/python"
"$prefix/python/bin/pip" install scikit-build-core pybind11 numpy ase typer rich
"$prefix/python/bin/pip" install --no-build-isolation --no-deps "$source" \
  -C cmake.define.EKD_BUILD_TORCH=OFF -C cmake.define.EKD_BUILD_LAMMPS_PLUGIN=OFF
"$prefix/python/bin/ekd" lammps build --lmp "$lmp" --mpirun "$mpirun" --output "$prefix/lammps"
