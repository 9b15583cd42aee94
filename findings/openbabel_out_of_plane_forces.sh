#!/usr/bin/env bash
# Forces of the force fields in Open Babel for molecules with flat atoms.
#
# Packages: openbabel 3.2.1, numpy 2.3.5 of PyPI (openbabel-wheel 3.1.1.23 gives the same).
# Guess: the gradients that Open Babel calculates analytically are the derivatives of its energies,
#   for MMFF94 and UFF as for GAFF.
# Seen: for GAFF they are, for MMFF94 and UFF only in molecules without an out-of-plane term (methanol).
#   For formamide with its C atom 0.12 Å out of the plane MMFF94 is off by 5 kcal/mol/Å (0.2 eV/Å), UFF
#   by 29 kJ/mol/Å (0.3 eV/Å), without a warning. The derivative of the out-of-plane angle is multiplied
#   by the sine of the bond angle for two of the outer atoms, where the comment in the source divides by
#   it: at 120° their share is 25 % too small. All carbonyls, aromatic rings, amides and so on have such
#   terms. A minimum is missed: 2-pyrrolidone, taken to forces of 0.03 kcal/mol/Å by steepest descent,
#   still lies on a slope of 1.2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "openbabel==3.2.1" "numpy==2.3.5"
cat > forces.py <<'EOF'
import sys

import numpy as np
from openbabel import openbabel

openbabel.obErrorLog.SetOutputLevel(0)
FORMAMIDE = """6
formamide, C out of the plane
C  0.16 0.39 0.12
O  1.19 -0.24 0.00
N -1.10 -0.18 0.00
H  0.12 1.50 0.00
H -1.22 -1.18 0.05
H -1.92 0.38 -0.05
"""
METHANOL = """6
methanol, stretched
C -0.05 0.66 0.00
O -0.05 -0.79 0.00
H -1.09 0.98 0.00
H  0.88 -1.10 0.05
H  0.44 1.07 0.90
H  0.44 1.07 -0.92
"""
STEP = 1e-4


def read(text, suffix):
    conversion = openbabel.OBConversion()
    assert conversion.SetInFormat(suffix)
    molecule = openbabel.OBMol()
    assert conversion.ReadString(molecule, text)
    return molecule


def calculate(field, molecule, positions):
    for atom, position in zip(openbabel.OBMolAtomIter(molecule), positions):
        atom.SetVector(*map(float, position))
    field.SetCoordinates(molecule)
    return field.Energy(True)


def forces(field, molecule, positions):  # calculated and numerical; GetGradient gives forces
    numerical = np.zeros_like(positions)
    for index in np.ndindex(positions.shape):
        for step in (STEP, -STEP):
            moved = positions.copy()
            moved[index] += step
            numerical[index] -= calculate(field, molecule, moved) / (2 * step)
    calculate(field, molecule, positions)
    vectors = [field.GetGradient(atom) for atom in openbabel.OBMolAtomIter(molecule)]
    return np.array([[v.GetX(), v.GetY(), v.GetZ()] for v in vectors]), numerical


def current(molecule):
    return np.array([[a.GetX(), a.GetY(), a.GetZ()] for a in openbabel.OBMolAtomIter(molecule)])


errors = {}
for name, text in (("formamide", FORMAMIDE), ("methanol", METHANOL)):
    for kind in ("MMFF94", "UFF", "GAFF"):
        molecule = read(text, "xyz")
        field = openbabel.OBForceField.FindForceField(kind)
        assert field.Setup(molecule)
        found, numerical = forces(field, molecule, current(molecule))
        errors[name, kind] = np.abs(found - numerical).max()
        print(f"{name:9s} {kind:6s} largest force {np.abs(numerical).max():7.1f}, "
              f"error {errors[name, kind]:.1e} {field.GetUnit()}/Å")

molecule = read("O=C1CCCN1", "smi")  # 2-pyrrolidone
molecule.AddHydrogens()
assert openbabel.OBBuilder().Build(molecule)
field = openbabel.OBForceField.FindForceField("MMFF94")
assert field.Setup(molecule)
field.SteepestDescent(5000, 1e-10)
field.GetCoordinates(molecule)
found, numerical = forces(field, molecule, current(molecule))
rest = np.abs(found).max(), np.abs(numerical).max()
print(f"2-pyrrolidone after 5000 steps of steepest descent: largest force {rest[0]:.3f}, "
      f"slope of the energy {rest[1]:.3f} kcal/mol/Å")
sys.exit(not (errors["formamide", "MMFF94"] > 0.5 and errors["formamide", "UFF"] > 2
              and errors["formamide", "GAFF"] < 1e-3
              and max(errors["methanol", kind] for kind in ("MMFF94", "UFF", "GAFF")) < 1e-3
              and rest[1] > 5 * rest[0]))
EOF
OMP_NUM_THREADS=1 venv/bin/python forces.py || { echo "this has changed: see above" >&2; exit 1; }
