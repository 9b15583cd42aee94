#!/usr/bin/env bash
# The ASE calculator of tblite: what its results depend on.
#
# Packages: tblite 0.8.0, ase 3.26.0, numpy 2.3.5 of PyPI.
# Guess: (1) the forces of a structure do not depend on which structure the calculator had before;
#   (2) a structure that is periodic in one direction is calculated as such, or refused.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "tblite==0.8.0" "ase==3.26.0" "numpy==2.3.5"

cat > calculator.py <<'EOF_PYTHON'
import sys

import numpy as np
from ase.build import molecule
from tblite.ase import TBLite


def calculate(atoms, calculator):
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces()


def new():
    return TBLite(method="GFN2-xTB", verbosity=0)


random = np.random.default_rng(0)
differences = []
for _ in range(20):
    first, second = molecule("CH3COOH"), molecule("CH3COOH")
    first.positions += random.normal(scale=0.1, size=first.positions.shape)
    second.positions += random.normal(scale=0.1, size=second.positions.shape)
    used = new()
    calculate(first, used)
    after, alone = calculate(second, used)[1], calculate(second, new())[1]
    differences.append(np.abs(after - alone).max())
largest = max(differences)
print(f"forces after another structure differ by up to {largest:.1e} eV/Å")

energies = {}
for pbc in ((False, False, False), (True, False, False), (True, True, True)):
    chain = molecule("H2O", vacuum=None)
    chain.cell = [4.0, 4.0, 4.0]
    chain.pbc = pbc
    energies[pbc] = calculate(chain, new())[0]
    print(f"periodic {pbc}: {energies[pbc]:.6f} eV")
none, one, three = energies.values()
sys.exit(not (largest > 1e-5 and abs(one - three) < 1e-6 and abs(one - none) > 1e-3))
EOF_PYTHON
venv/bin/python calculator.py || { echo "changed: see above" >&2; exit 1; }
