#!/usr/bin/env bash
# Which numbers of a structure ASE's own formats keep.
#
# Packages: ase 3.29.0, numpy 2.3.5 of PyPI.
# Guess: a trajectory (.traj) keeps what extended XYZ keeps: arrays of atoms that a program has
#   added with atoms.set_array, and atoms.info.
# Seen: the trajectory keeps atoms.info and drops the added array without a warning. Extended XYZ
#   keeps both. The database and the JSON format drop both. Error estimates per atom that are stored
#   in an array are lost in the format that MD in ASE writes by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ase==3.29.0" "numpy==2.3.5"
venv/bin/python - > seen.txt <<'EOF'
import warnings

warnings.simplefilter("error")  # a warning about what is dropped would end the program
import numpy as np
from ase.build import molecule
from ase.io import read, write

for suffix in ("xyz", "traj", "db", "json"):
    atoms = molecule("H2O")
    atoms.set_array("spread", np.array([0.1, 0.2, 0.3]))
    atoms.info["energy_spread"] = 0.4
    write(f"water.{suffix}", atoms)
    again = read(f"water.{suffix}")
    print(suffix, "array", "spread" in again.arrays, "info", "energy_spread" in again.info)
EOF
cat seen.txt
diff seen.txt - <<'EOF'
xyz array True info True
traj array False info True
db array False info False
json array False info False
EOF
