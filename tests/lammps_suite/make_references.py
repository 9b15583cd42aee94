"""Writes models, boxes and references, without LAMMPS. Forces are from autograd in float64.

    PYTHONPATH=python:tests python tests/lammps_suite/make_references.py

The runtime and the inference kernels are not used either, because the references test them.
"""

from __future__ import annotations

from pathlib import Path

import ase.build
import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_masses
from references import Reference, write

from ekd.export import export_model
from ekd.export.eager import evaluate
from ekd.models import HIPNN, Committee
from ekd.neighbor_list import NeighborList, neighbor_list
from models import ELEMENTS, random_network

FOLDER = Path(__file__).parent
ORDER = [8, 1, 7, 6]  # atom types
SYMBOLS = "O H N C"
TIMESTEP = 0.0001  # ps, as in in.molecules
MASS_UNIT = 1.0364269e-4  # eV/(Å/ps)² per g/mol, LAMMPS's value in metal units
N_STEPS = 4

NETWORKS: dict[str, tuple[int, dict[str, object]]] = {
    "one": (1, {"l_max": 2, "zbl": True}),
    "two": (1, {"n_interactions": 2, "l_max": 1, "n_hidden": 4}),
    "three": (1, {"n_interactions": 3, "l_max": 1, "n_atom_layers": 1}),
    "committee": (3, {"n_interactions": 2, "l_max": 0}),
}
"""Name of a model file -> number of students, and settings of their networks."""

CASES: dict[str, tuple[str, str, str]] = {
    "one": ("one", "ekd", "data.molecules"),
    "two": ("two", "ekd", "data.molecules"),
    "three": ("three", "ekd", "data.molecules"),
    "committee": ("committee", "ekd", "data.molecules"),
    "triclinic": ("two", "ekd", "data.triclinic"),
    "total": ("one", "ekd energy total", "data.molecules"),
    "wide": ("two", "ekd ghosts wide", "data.molecules"),
    "block": ("two", "ekd block 7 self_test no", "data.molecules"),
    "emulated": ("two", "ekd device emulated", "data.molecules"),
    "emulated-one": ("one", "ekd device emulated", "data.triclinic"),
    "overlay": ("two", "hybrid/overlay ekd zero 3.0", "data.molecules"),
    "overlay-one": ("one", "hybrid/overlay ekd zero 3.0", "data.triclinic"),
}
"""Name of a reference -> model file, pair style, data file."""


def molecules() -> Atoms:
    """Box with eight distorted molecules of four elements, one in each octant."""
    box = Atoms(cell=[9.2, 9.0, 9.4], pbc=True)
    generator = np.random.default_rng(7)
    names = ["H2O", "NH3", "CH4", "HCN", "H2O", "CH3OH", "H2CO", "H2O"]
    for site, name in zip(np.ndindex(2, 2, 2), names, strict=True):
        molecule = ase.build.molecule(name)
        molecule.rotate(generator.uniform(0, 360), generator.normal(size=3), center="COM")
        molecule.translate(
            (np.array(site) + 0.5) * box.cell.lengths() / 2 - molecule.get_center_of_mass()
        )
        box += molecule
    box.positions += generator.normal(scale=0.05, size=box.positions.shape)
    return box


def triclinic() -> Atoms:
    """The same molecules in a skewed cell."""
    box = molecules()
    box.set_cell([[9.2, 0, 0], [1.7, 9.0, 0], [-1.1, 0.9, 9.4]], scale_atoms=False)
    return box


def write_data(path: Path, atoms: Atoms, velocities: np.ndarray) -> None:
    """Write a data file; its numbers are read back as the same float64."""
    cell = atoms.cell.array
    lines = ["written by make_references.py", "", f"{len(atoms)} atoms", f"{len(ORDER)} atom types"]
    lines += [f"0.0 {float(cell[d, d])!r} {axis}lo {axis}hi" for d, axis in enumerate("xyz")]
    tilt = [float(cell[a, b]) for a, b in ((1, 0), (2, 0), (2, 1))]
    if any(tilt):
        lines.append(" ".join(map(repr, tilt)) + " xy xz yz")
    lines += ["", "Masses", "", *(f"{t + 1} {atomic_masses[z]}" for t, z in enumerate(ORDER))]
    lines += ["", "Atoms # atomic", ""]
    for n, (z, r) in enumerate(zip(atoms.numbers, atoms.positions.tolist(), strict=True)):
        lines.append(f"{n + 1} {ORDER.index(z) + 1} {r[0]!r} {r[1]!r} {r[2]!r}")
    lines += ["", "Velocities", ""]
    lines += [f"{n + 1} {v[0]!r} {v[1]!r} {v[2]!r}" for n, v in enumerate(velocities.tolist())]
    path.write_text("\n".join(lines) + "\n")


class Run:
    """Dynamics with a network, or with the mean of several."""

    def __init__(self, networks: list[HIPNN], atoms: Atoms, is_relative: bool) -> None:
        self.model = Committee(networks).double()
        self.atoms = atoms
        self.species = np.array([ELEMENTS.index(z) for z in atoms.numbers], dtype=np.int64)
        self.zero = 0.0
        if is_relative:
            alone = NeighborList(
                np.zeros((2, 0), dtype=np.int64),
                np.zeros((0, 3), dtype=np.int32),
                np.zeros((0, 3)),
                np.zeros(2, dtype=np.int64),
                np.zeros(len(ELEMENTS) + 1, dtype=np.int64),
            )
            free = evaluate(self.model, np.arange(len(ELEMENTS)), alone).atomic_energies
            self.zero = float(free[self.species].sum())

    def results(self, positions: np.ndarray) -> tuple[float, list[float], np.ndarray]:
        """Energy, virial (xx, yy, zz, xy, xz, yz) and forces."""
        pairs = neighbor_list(positions, float(self.model.cutoff), self.atoms.cell.array, True)
        found = evaluate(self.model, self.species, pairs)
        v = found.virial
        virial = [float(v[a, b]) for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
        return found.energy - self.zero, virial, found.forces

    def move(self, velocities: np.ndarray) -> tuple[float, list[float], np.ndarray]:
        """Results after N_STEPS steps of velocity Verlet."""
        positions, velocities = self.atoms.positions.copy(), velocities.copy()
        masses = atomic_masses[self.atoms.numbers][:, None] * MASS_UNIT
        found = self.results(positions)
        for _ in range(N_STEPS):
            velocities += 0.5 * TIMESTEP * found[2] / masses
            positions += TIMESTEP * velocities
            found = self.results(positions)
            velocities += 0.5 * TIMESTEP * found[2] / masses
        return found


def closest_pairs() -> list[dict[str, object]]:
    """Closest pairs as in an export; the boxes contain closer pairs, and pairs without an entry."""
    distances = {("H", "O"): 1.0, ("H", "H"): 1.2, ("C", "H"): 1.0, ("C", "O"): 1.1}
    names = ["H", "C", "N", "O"]
    found: list[dict[str, object]] = []
    for a, first in enumerate(names):
        for second in names[a:]:
            distance = distances.get((first, second))
            n_pairs = 0 if distance is None else 1000
            found.append({"elements": [first, second], "n_pairs": n_pairs, "distance": distance})
    return found


def main() -> None:
    networks: dict[str, list[HIPNN]] = {}
    for name, (n_members, settings) in NETWORKS.items():
        pairs = [random_network(seed=11 + k, **settings) for k in range(n_members)]  # type: ignore[arg-type]
        networks[name] = [network for network, _ in pairs]
        export_model(
            networks[name],
            FOLDER / f"{name}.pt",
            config=pairs[0][1],
            provenance=[{"closest_pairs": closest_pairs()} for _ in pairs],
        )
    boxes = {"data.molecules": molecules(), "data.triclinic": triclinic()}
    velocities = np.random.default_rng(3).normal(
        scale=8.0, size=boxes["data.molecules"].positions.shape
    )
    for name, atoms in boxes.items():
        write_data(FOLDER / name, atoms, velocities)
    for name, (model, style, data) in CASES.items():
        run = Run(networks[model], boxes[data], is_relative="total" not in style)
        at_start, at_end = run.results(run.atoms.positions), run.move(velocities)
        is_hybrid = style.startswith("hybrid")
        coefficients = f"{'ekd ' if is_hybrid else ''}${{input_dir}}/{model}.pt {SYMBOLS}"
        write(
            Reference(
                path=FOLDER / f"{name}.yaml",
                epsilon=1e-9 if "emulated" in style else 1e-10,  # devices have fixed-point forces
                pre_commands=[f"variable data_file index ${{input_dir}}/{data}"],
                post_commands=[],
                input_file="in.molecules",
                pair_style=style,
                pair_coeff=[f"* * {coefficients}", *(["* * zero"] if is_hybrid else [])],
                extract={} if is_hybrid else {"cutoff": 0},
                n_atoms=len(run.atoms),
                init_energy=[at_start[0], 0.0],
                init_stress=at_start[1],
                init_forces=at_start[2].tolist(),
                run_energy=[at_end[0], 0.0],
                run_stress=at_end[1],
                run_forces=at_end[2].tolist(),
            )
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
