#!/usr/bin/env bash
# The temperature of fixed and free atoms with the Nosé-Hoover chain thermostat of ASE.
#
# Packages: ase 3.29.0, numpy 2.3.5 of PyPI.
# Guess: with FixAtoms, NoseHooverChainNVT holds the free atoms at the temperature that is asked for,
#   as Langevin does, or it is refused, as the barostat of the same module refuses constraints
#   (NotImplementedError).
# Seen: neither. Copper with half of its atoms fixed cools from 300 K to 14 K (the mean from 6 to
#   12 ps), and the energy that the integrator calls conserved grows by 5 eV. Without fixed atoms both
#   are right, and with Langevin fixed atoms do no harm. No warning is given, and the fixed atoms do
#   stay where they are. ASE's forces for MD leave the constraint out; it acts on momenta when they
#   are stored. This integrator keeps its own copy of the momenta, where the fixed atoms gather speed
#   that is never stored: over all atoms it sees 300 K, and nearly all of that is theirs. Any slab
#   with a frozen bottom is affected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ase==3.29.0" "numpy==2.3.5"
cat > md.py <<'EOF'
import sys
import warnings

warnings.simplefilter("error")  # a warning about constraints would end the program
import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT

STEP, DAMPING = 3 * units.fs, 100 * units.fs


def copper(fixed):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    if fixed:
        atoms.set_constraint(FixAtoms(np.flatnonzero(atoms.positions[:, 2] < 2.5)))
    atoms.calc = EMT()
    random = np.random.default_rng(0)
    momenta = random.normal(size=(len(atoms), 3)) * np.sqrt(atoms.get_masses() * units.kB * 300)[:, None]
    atoms.set_momenta(momenta)
    return atoms


def chain(atoms):
    return NoseHooverChainNVT(atoms, STEP, temperature_K=300, tdamp=DAMPING)


def langevin(atoms):
    return Langevin(atoms, STEP, temperature_K=300, friction=0.01 / units.fs, fixcm=False,
                    rng=np.random.RandomState(1))


seen = {}
for name, make, fixed in (("chain", chain, False), ("Langevin", langevin, True), ("chain", chain, True)):
    atoms = copper(fixed)
    start = atoms.positions.copy()
    integrator = make(atoms)
    integrator.run(10)
    conserves = hasattr(integrator, "get_conserved_energy")
    before = integrator.get_conserved_energy() if conserves else np.nan
    integrator.run(1990)
    after = integrator.get_conserved_energy() if conserves else np.nan
    temperatures = []
    integrator.attach(lambda: temperatures.append(atoms.get_temperature()), interval=5)
    integrator.run(2000)
    seen[name, fixed] = np.mean(temperatures), after - before
    held = atoms.constraints[0].index if fixed else []
    moved = np.abs(atoms.positions - start)[held].max(initial=0.0)
    change = f", change of the conserved energy {after - before:.4f} eV" if conserves else ""
    print(f"{name:8s} {len(held):2d} of {len(atoms)} atoms fixed: they moved by {moved:.1f} Å, "
          f"mean temperature {seen[name, fixed][0]:5.1f} K{change}")
try:
    IsotropicMTKNPT(copper(True), STEP, temperature_K=300, pressure_au=0.0, tdamp=DAMPING,
                    pdamp=1000 * units.fs)
    refused = False
except NotImplementedError as error:
    refused = True
    print("IsotropicMTKNPT:", error)
sys.exit(not (270 < seen["chain", False][0] < 330 and abs(seen["chain", False][1]) < 0.01
              and 270 < seen["Langevin", True][0] < 330 and refused
              and seen["chain", True][0] < 60 and seen["chain", True][1] > 1))
EOF
OMP_NUM_THREADS=1 venv/bin/python md.py || { echo "this has changed: see above" >&2; exit 1; }
