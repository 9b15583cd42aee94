"""The self-test frame stored in an exported model, with results of the original networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekd.export.eager import evaluate
from ekd.models import Committee
from ekd.neighbor_list import neighbor_list

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
"""eV/atom for energy and virial, eV/Å for forces: rounding errors of reordered sums."""


def self_test_frame(model: Committee, dtype: str) -> dict[str, Any]:
    """Make a small triclinic crystal with all elements, evaluated by the eager networks.

    The cell is smaller than most cutoffs, so periodic images are tested too.
    """
    rng = np.random.default_rng(0)
    spacing = 1.6  # Å: no two atoms come closer than half of it
    species = np.arange(max(8, len(model.elements))) % len(model.elements)
    n_side = int(np.ceil(len(species) ** (1 / 3)))
    sites = np.argwhere(np.ones((n_side,) * 3))[: len(species)]
    shear = np.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [-0.1, 0.15, 1.0]])
    cell = n_side * spacing * shear
    positions = spacing * sites @ shear + rng.uniform(-0.2, 0.2, (len(species), 3))
    pairs = neighbor_list(positions, model.cutoff, cell, pbc=True)
    results = evaluate(model, species.astype(np.int64), pairs)
    return {
        "atomic_numbers": [model.elements[index] for index in species],
        "positions": positions.tolist(),
        "cell": cell.tolist(),
        "pbc": [True, True, True],
        "energy": results.energy,
        "forces": results.forces.tolist(),
        "virial": results.virial.tolist(),
        "uncertainty": [] if results.uncertainty is None else results.uncertainty.tolist(),
        "tolerance": TOLERANCE[dtype],
    }
