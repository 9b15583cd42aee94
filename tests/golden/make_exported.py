"""Writes exported files of the current format, and the results of this version for a structure.

    PYTHONPATH=tests python tests/golden/make_exported.py

Run it once for each format, with the last version that writes the format. Later versions must read
the files and find the same numbers (``tests/unit/inference/test_golden.py``).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from ekd.export import export_model
from ekd.inference import ExportedModel
from ekd.inference.metadata import FORMAT
from models import random_network

FOLDER = Path(__file__).parent

CASES: dict[str, tuple[int, dict[str, object], dict[str, object]]] = {
    "committee": (2, {"n_interactions": 2, "zbl": True, "n_hidden": 3}, {}),
    "single": (1, {"l_max": 1}, {"dtype": "float32"}),
    "portable": (1, {"l_max": 0, "n_atom_layers": 2}, {"portable": True}),
}
"""Name -> number of students, settings of the networks, settings of the export."""


def structure() -> Atoms:
    """A sheared, crowded cell of methylamine and water, periodic in two directions."""
    atoms = molecule("H3CNH2") + molecule("H2O")
    atoms.positions[7:] += [2.5, 0.3, 0.4]
    atoms.set_cell([[6.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.5, 9.0]])
    atoms.set_pbc([True, True, False])
    atoms.rattle(0.1, seed=3)
    return atoms


def arrays_of(atoms: Atoms) -> dict[str, object]:
    """Arguments of :meth:`ekd.ExportedModel.evaluate`, Å."""
    return {
        "atomic_numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def results(path: Path, arrays: dict[str, object]) -> dict[str, object]:
    """Results of ekd for the structure with this file, in eV and Å."""
    found = ExportedModel(path).evaluate(**arrays)
    return {
        name: np.asarray(value).tolist() for name, value in vars(found).items() if value is not None
    }


def main() -> None:
    arrays = arrays_of(structure())
    expected = {"structure": arrays}
    for name, (n_members, network, export) in CASES.items():
        pairs = [
            random_network(seed=seed, n_features=4, n_sensitivities=5, **network)
            for seed in range(n_members)
        ]
        path = FOLDER / f"exported-{FORMAT}-{name}.pt"
        export_model([net for net, _ in pairs], path, config=pairs[0][1], **export)
        expected[name] = results(path, arrays)
    (FOLDER / f"exported-{FORMAT}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
