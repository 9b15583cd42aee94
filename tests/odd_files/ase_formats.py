"""Unusual files in formats of ASE: trajectories, databases, and outputs of programs."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase import units as ase_units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from ekd.units import BOHR, HARTREE
from odd_files import OddFile, Read, Refused, waters

E = [-2078.5, -2078.25]
SINGLE = (E[0] + np.random.default_rng(3).normal(scale=0.1, size=12)).astype(np.float32)
R = waters(2)
F = np.array([[0.0, 0.0, 0.3], [0.0, 0.1, -0.15], [0.0, -0.1, -0.15]])
BOTH = Read(E, positions=R[0])
FORCES = {"forces": "forces"}


def molecules(
    results: Sequence[dict[str, Any]] = ({"energy": E[0]}, {"energy": E[1]}),
    info: Sequence[dict[str, Any]] = ({}, {}),
    **options: Any,
) -> list[Atoms]:
    """Water molecules with these results of a calculator, and these entries of ``info``."""
    made = []
    for position, values, entries in zip(waters(len(results)), results, info, strict=True):
        atoms = Atoms("OHH", position, **options)
        atoms.info.update(entries)
        if values:
            atoms.calc = SinglePointCalculator(atoms, **values)
        made.append(atoms)
    return made


def written(frames: Callable[[], list[Atoms]], name: str = "x.traj") -> Callable[[Path], Path]:
    """Return a function that writes frames in the format given by the name."""

    def write(folder: Path) -> Path:
        ase.io.write(folder / name, frames())
        return folder / name

    return write


def results(*values: dict[str, Any], name: str = "x.traj") -> Callable[[Path], Path]:
    return written(lambda: molecules(values, [{}] * len(values)), name)


def infos(*values: dict[str, Any]) -> Callable[[Path], Path]:
    return written(lambda: molecules(info=values))


def text(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return write


def database(
    pairs: Sequence[dict[str, Any]] = ({}, {}),
    data: Sequence[dict[str, Any]] = ({}, {}),
    calculated: bool = True,
    metadata: dict[str, Any] | None = None,
    scale: float = 1.0,
    name: str = "x.db",
) -> Callable[[Path], Path]:
    """Return a function that writes a database of water molecules."""

    def write(folder: Path) -> Path:
        with ase.db.connect(folder / name) as connection:
            if metadata:
                connection.metadata = metadata
            frames = molecules() if calculated else molecules([{}, {}])
            for frame, pair, entry in zip(frames, pairs, data, strict=True):
                frame.positions *= scale
                connection.write(frame, key_value_pairs=pair, data=entry)
        return folder / name

    return write


def cut_off(write: Callable[[Path], Path], n_bytes: int) -> Callable[[Path], Path]:
    def cut(folder: Path) -> Path:
        path = write(folder)
        path.write_bytes(path.read_bytes()[:-n_bytes])
        return path

    return cut


def other_table(folder: Path) -> Path:
    connection = sqlite3.connect(folder / "x.db")
    connection.execute("create table molecules (energy real)")
    connection.commit()
    connection.close()
    return folder / "x.db"


def constrained() -> list[Atoms]:
    frames = molecules([{"energy": E[0], "forces": F}, {"energy": E[1], "forces": F}])
    for frame in frames:
        frame.set_constraint(FixAtoms([0]))
    return frames


_FORTRAN = [f"{x:.14f}".replace("0.", ".") + "D+00" for x in (-F * BOHR / HARTREE).ravel()]
TURBOMOLE = (
    "$grad          cartesian gradients\n"
    f"  cycle =      1    SCF energy =     {E[0] / ase_units.Hartree:.10f}   |dE/dxyz| =  0.0157\n"
    + "".join(
        "  " + "  ".join(f"{x / BOHR:.14f}" for x in row) + f"  {s}\n"
        for row, s in zip(R[0], "ohh", strict=True)
    )
    + "".join("  " + "  ".join(_FORTRAN[3 * k : 3 * k + 3]) + "\n" for k in range(3))
    + "$end\n"
)
ORCA = (
    "Number of atoms                         ....      3\n"
    "CARTESIAN COORDINATES (ANGSTROEM)\n---------------------------------\n"
    + "".join(
        f"  {s}  {x:.6f}  {y:.6f}  {z:.6f}\n" for s, (x, y, z) in zip("OHH", R[0], strict=True)
    )
    + f"\nFINAL SINGLE POINT ENERGY     {E[0] / ase_units.Hartree:.12f}{{note}}\n\n{{end}}\n"
)
DUMP = (
    "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS ff ff ff\n0 9\n0 9\n0 9\n"
    "ITEM: ATOMS id type x y z\n1 2 0 0 0.117\n2 1 0 0.757 -0.471\n3 1 0 -0.757 -0.471\n"
)
PDB = (
    "ATOM      1  OW  HOH A   1       0.000   0.000   0.117  1.00  0.00           O\n"
    "ATOM      2  HW1 HOH A   1       0.000   0.757  -0.471  1.00  0.00           H\nEND\n"
)

LISTED = (
    # --------------------------------------------------------------------------- trajectories
    ("trajectory", "ASE", results({"energy": E[0]}, {"energy": E[1]}), BOTH),
    (
        "frames without results",
        "trajectories that were joined",
        results({"energy": E[0]}, {}),
        Read(E[:1], n_dropped=1),
    ),
    (
        "no frame has results",
        "structures alone",
        results({}, {}),
        Refused("has no key 'energy'"),
    ),
    (
        "energy NaN",
        "calculators that failed",
        results({"energy": E[0]}, {"energy": np.nan}),
        Read(E[:1], n_dropped=1),
    ),
    (
        "energy as an array of one number",
        "calculators of PyTorch",
        infos({"e": np.array([E[0]])}, {"e": np.array([E[1]])}),
        BOTH,
        {"energy": "e"},
    ),
    (
        "energy in single precision",
        "calculators of PyTorch",
        results(*({"energy": energy} for energy in SINGLE)),
        Read([float(energy) for energy in SINGLE], warnings=["single precision.*of 0.244 meV"]),
    ),
    (
        "free energy",
        "smearing: VASP, GPAW",
        results({"energy": E[0], "free_energy": E[0] - 0.2}, {"energy": E[1], "free_energy": E[1]}),
        Read(E, warnings=["'free_energy'.* differs .*200 meV"]),
    ),
    (
        "stress",
        "every periodic calculation",
        written(
            lambda: molecules(
                [{"energy": e, "stress": np.ones(6)} for e in E], cell=[9, 8, 7], pbc=True
            )
        ),
        Read(E, pbc=[True] * 3),
    ),
    (
        "fixed atoms, whose forces are there",
        "relaxations of surfaces",
        written(constrained),
        Read(E, forces=F),
        FORCES,
    ),
    (
        "forces of some frames",
        "trajectories that were joined",
        results({"energy": E[0], "forces": F}, {"energy": E[1]}),
        Refused("1 of 2 configurations .* no finite 'forces'"),
        FORCES,
    ),
    (
        "forces of zero",
        "calculators that have none",
        results({"energy": E[0], "forces": 0 * F}, {"energy": E[1], "forces": F}),
        Read(E, forces=0 * F, warnings=["1 of 2 configurations .* forces .* zero"]),
        FORCES,
    ),
    (
        "slab, periodic in two directions",
        "surfaces",
        written(lambda: molecules(cell=[9, 8, 0], pbc=[True, True, False])),
        Read(E, pbc=[True, True, False]),
    ),
    (
        "ions among neutral molecules",
        "FAIR Chemistry: OMol25",
        infos({"charge": 0, "spin": 1}, {"charge": 1, "spin": 2}),
        Refused("1 of 2 configurations .* charge"),
    ),
    (
        "ions are left out",
        "FAIR Chemistry: OMol25",
        infos({"charge": 0, "spin": 1}, {"charge": 1, "spin": 2}),
        Read(E[:1], n_dropped=1),
        {"states": "neutral"},
    ),
    (
        "ghost atoms",
        "counterpoise corrections",
        written(lambda: [Atoms("OHX", R[0], calculator=None)]),
        Refused("has no key 'energy'"),
    ),
    (
        "trajectory that is cut off",
        "jobs that were killed",
        cut_off(results({"energy": E[0]}, {"energy": E[1]}), 600),
        Refused("cannot be read as 'traj'"),
    ),
    (
        "empty trajectory",
        "jobs that were killed",
        text("x.traj", ""),
        Refused("cannot be read|empty"),
    ),
    # ------------------------------------------------------------------------------ databases
    ("database", "ASE", database(), BOTH),
    (
        "energies among key-value pairs",
        "QM9",
        database([{"u0": e} for e in E], calculated=False),
        BOTH,
        {"energy": "u0"},
    ),
    (
        "energies among the data, (1)",
        "SchNetPack",
        database(data=[{"e": np.array([e])} for e in E], calculated=False),
        BOTH,
        {"energy": "e"},
    ),
    (
        "units in the metadata",
        "SchNetPack",
        database(
            data=[{"e": np.array([e / HARTREE])} for e in E],
            calculated=False,
            scale=1 / BOHR,
            metadata={"_distance_unit": "Bohr", "_property_unit_dict": {"e": "Hartree"}},
        ),
        BOTH,
        {"energy": "e"},
    ),
    (
        "two energies",
        "databases with several methods",
        database([{"pbe_energy": -2080.0}, {"pbe_energy": -2080.1}]),
        Read(E, warnings=["'energy' is read.*'pbe_energy' in 2"]),
    ),
    (
        "result and data that differ",
        "databases that were changed",
        database(data=[{"energy": -1.0}, {"energy": E[1]}]),
        Refused("with a different value"),
    ),
    (
        "charges among key-value pairs",
        "nablaDFT, tmQM",
        database([{"charge": 0}, {"charge": -1}]),
        Refused("1 of 2 configurations .* charge"),
    ),
    (
        "functionals among key-value pairs",
        "C2DB, home-made databases",
        database([{"xc": "PBE"}, {"xc": "RPA"}]),
        Refused("'xc'.*'PBE' \\(1\\), 'RPA' \\(1\\)"),
    ),
    (
        "one functional is chosen",
        "C2DB, home-made databases",
        database([{"xc": "PBE"}, {"xc": "RPA"}]),
        Read(E[:1], n_dropped=1),
        {"where": {"xc": "PBE"}},
    ),
    ("database of something else", "SQLite", other_table, Refused("cannot be read as 'db'")),
    (
        "no database",
        "files with the suffix .db",
        text("x.db", "energy -1\n"),
        Refused("cannot be read|neither ekd nor ASE"),
    ),
    ("database as JSON", "ASE", database(name="x.json"), BOTH),
    (
        "JSON of something else",
        "web services",
        text("x.json", json.dumps({"energy": -1.0})),
        Refused("cannot be read as 'json'"),
    ),
    # --------------------------------------------------------------------- outputs of programs
    (
        "gradient of Turbomole",
        "Turbomole: Bohr, Hartree, gradients with D",
        text("gradient", TURBOMOLE),
        Read(E[:1], positions=R[0], forces=F),
        FORCES,
    ),
    (
        "output of ORCA",
        "ORCA",
        text("x.out", ORCA.format(note="", end="ORCA TERMINATED NORMALLY")),
        Read(E[:1], positions=R[0]),
        {"format": "orca-output"},
    ),
    (
        "energy in Hartree that ASE has converted",
        "outputs of programs",
        text("x.out", ORCA.format(note="", end="ORCA TERMINATED NORMALLY")),
        Refused("'orca-output'.*eV.*energy_unit.*EKD-DATA-049"),
        {"format": "orca-output", "energy_unit": "Hartree"},
    ),
    (
        "SCF that did not converge",
        "ORCA",
        text(
            "x.out",
            ORCA.format(
                note=" (Wavefunction not fully converged!)", end="ORCA TERMINATED NORMALLY"
            ),
        ),
        Refused("all 1 values .* missing or NaN"),
        {"format": "orca-output"},
    ),
    (
        "output that is cut off",
        "jobs that were killed",
        text("x.out", ORCA.format(note="", end="")),
        Refused("cannot be read as 'orca-output'.*did not finish"),
        {"format": "orca-output"},
    ),
    (
        "output of a program that ASE does not know",
        "Psi4, MOLPRO, Q-Chem",
        text("x.out", "         Psi4 1.9\n    Total Energy = -76.4\n"),
        Refused("has no configurations that can be read as 'espresso-out'.*format"),
    ),
    (
        "structure without an energy",
        "VASP",
        written(lambda: molecules(cell=[9, 8, 7], pbc=True)[:1], "POSCAR"),
        Refused("has no key 'energy'"),
    ),
    (
        "crystal without an energy",
        "CIF",
        written(lambda: molecules(cell=[9, 8, 7], pbc=True)[:1], "x.cif"),
        Refused("has no key 'energy'"),
    ),
    ("protein", "PDB", text("x.pdb", PDB), Refused("has no key 'energy'")),
    (
        "dump of LAMMPS, types are no elements",
        "LAMMPS",
        text("x.dump", DUMP),
        Refused("has no key 'energy'"),
        {"format": "lammps-dump-text"},
    ),
    (
        "compressed with zlib",
        "unusual archives",
        lambda folder: _bytes(folder / "x.xyz.Z", zlib.compress(b"3\n")),
        Refused("neither ekd nor ASE recognizes"),
    ),
    ("table", "spreadsheets", text("x.csv", "smiles,energy\nO,-76.4\n"), Refused("suffix '.csv'")),
)


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


ODD_FILES = tuple(
    OddFile(name, found, write, outcome, *request)
    for name, found, write, outcome, *request in LISTED
)
