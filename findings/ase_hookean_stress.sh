#!/usr/bin/env bash
# The stress of ASE for atoms that are tied by a Hookean constraint.
#
# Packages: ase 3.29.0, numpy 2.3.5 of PyPI.
# Guess: for a crystal with a Hookean spring, get_potential_energy, get_forces and get_stress belong
#   together: each contains the spring, or none does.
# Seen: energy and forces contain it, the stress does not: with 1 eV/Å^2 and 1 Å of stretch it is off by
#   0.03 eV/Å^3 (4 GPa) in a cell of four Cu atoms. ExternalForce behaves the same. A constraint can add
#   to the energy and to the forces, and these two leave the stress alone. No warning is given. A
#   relaxation of atoms and cell by FrechetCellFilter is reported as converged where the energy still
#   falls: 0.6 % less length gains 7 meV.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ase==3.29.0" "numpy==2.3.5"
cat > stress.py <<'EOF'
import sys
import warnings

warnings.simplefilter("error", UserWarning)
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import ExternalForce, Hookean
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

SPRINGS = {"none": [], "Hookean": Hookean(a1=0, a2=1, k=1.0, rt=1.5),
           "ExternalForce": ExternalForce(0, 1, 0.2)}
STEP = 1e-4


def crystal(spring):
    atoms = bulk("Cu", cubic=True)
    atoms.positions += np.random.default_rng(0).normal(scale=0.1, size=atoms.positions.shape)
    atoms.set_constraint(SPRINGS[spring])
    atoms.calc = EMT()
    return atoms


def energy(atoms, strain):  # strained along with its atoms
    copy = atoms.copy()
    copy.set_constraint()
    copy.set_cell(copy.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    copy.set_constraint(atoms.constraints)
    copy.calc = EMT()
    return copy.get_potential_energy()


right = True
for name in SPRINGS:
    atoms = crystal(name)
    forces = atoms.get_forces()[0, 1]
    moved = [atoms.copy(), atoms.copy()]
    for copy, sign in zip(moved, (1, -1)):
        copy.positions[0, 1] += sign * STEP
        copy.calc = EMT()
    slope = -(moved[0].get_potential_energy() - moved[1].get_potential_energy()) / (2 * STEP)
    numerical = np.array([(energy(atoms, STEP * np.diag(row)) - energy(atoms, -STEP * np.diag(row)))
                          / (2 * STEP * atoms.get_volume()) for row in np.eye(3)])
    error = np.abs(atoms.get_stress()[:3] - numerical).max()
    optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
    converged = optimizer.run(fmax=1e-3, steps=500)
    at_rest = energy(atoms, 0 * np.eye(3))
    scaled, by = min((energy(atoms, s * np.eye(3)) - at_rest, s) for s in np.linspace(-0.05, 0.05, 101))
    print(f"{name:14s} force: {forces:8.4f}, from energies {slope:8.4f} eV/Å; largest error of the stress "
          f"{error:.1e} eV/Å^3; relaxed, then scaled by {100 * by + 0.0:.1f} %: {scaled + 0.0:.4f} eV")
    right &= abs(forces - slope) < 1e-4 and converged
    right &= (error < 1e-5 and scaled > -1e-4) if name == "none" else error > 1e-3
    right &= name != "Hookean" or scaled < -1e-3
sys.exit(not right)
EOF
OMP_NUM_THREADS=1 venv/bin/python stress.py || { echo "this has changed: see above" >&2; exit 1; }
