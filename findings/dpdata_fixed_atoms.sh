#!/usr/bin/env bash
# Forces on constrained atoms when dpdata turns ASE structures into training data.
#
# Packages: dpdata 1.1.0, ase 3.29.0, numpy 2.3.5 of PyPI.
# Guess: a slab whose lowest atoms are held fixed by FixAtoms keeps the calculated forces on these
#   atoms, as energies and forces of training data have to belong together. All routes into dpdata
#   give the same forces.
# Seen: from the Atoms object and from an ASE trajectory all forces on the fixed atoms are zero,
#   where the calculator has up to 1.9 eV/Å. From the same frame in extended XYZ they are right.
#   dpdata asks ASE for forces after constraints. No warning is given, and the energy is still the
#   full one, so a potential is trained on forces that are not the slope of its energies.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "dpdata==1.1.0" "ase==3.29.0" "numpy==2.3.5"
cat > convert.py <<'EOF_PYTHON'
import warnings

import dpdata
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import write

slab = bulk("Cu", cubic=True) * (2, 2, 2)
slab.rattle(0.1, seed=1)
fixed = [atom.index for atom in slab if atom.z < 1.0]
slab.set_constraint(FixAtoms(fixed))
slab.calc = EMT()
slab.get_forces()
slab.get_stress()
calculated = slab.get_forces(apply_constraint=False)
write("slab.traj", slab)
write("slab.xyz", slab)
print(f"fixed atoms: {len(fixed)}, largest component calculated for them: "
      f"{abs(calculated[fixed]).max():.2f} eV/Å")

warnings.simplefilter("error")
warnings.simplefilter("ignore", ResourceWarning)  # a file that is left open
read = {
    "Atoms": dpdata.LabeledSystem(slab, fmt="ase/structure"),
    "trajectory": dpdata.LabeledSystem("slab.traj", fmt="ase/traj"),
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it names the columns that it skips
    (read["extended XYZ"],) = dpdata.MultiSystems.from_file("slab.xyz", fmt="extxyz").systems.values()
free = [i for i in range(len(slab)) if i not in fixed]
for name, system in read.items():
    forces = system["forces"][0]
    print(f"{name}: energy is right: {abs(system['energies'][0] - slab.get_potential_energy()) < 1e-5},",
          f"forces on free atoms: {np.allclose(forces[free], calculated[free], atol=1e-5)},",
          f"on fixed atoms: {np.allclose(forces[fixed], calculated[fixed], atol=1e-5)},",
          f"all zero: {not forces[fixed].any()}")
EOF_PYTHON
venv/bin/python convert.py | tee seen.txt
diff <(tail -n +2 seen.txt) - <<'EOF'
Atoms: energy is right: True, forces on free atoms: True, on fixed atoms: False, all zero: True
trajectory: energy is right: True, forces on free atoms: True, on fixed atoms: False, all zero: True
extended XYZ: energy is right: True, forces on free atoms: True, on fixed atoms: True, all zero: False
EOF
