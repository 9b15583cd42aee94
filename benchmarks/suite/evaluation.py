"""The bare force evaluation: what a step of MD cannot do without, and nothing more.

The only place of the suite that calls ekd with a neighbour list.
"""

from __future__ import annotations

from collections.abc import Callable

from ase import Atoms

from ekd.inference import ExportedModel, Results
from ekd.neighbor_list import NeighborList


def bare_evaluation(
    model: ExportedModel, atoms: Atoms, pairs: NeighborList
) -> Callable[[], Results]:
    """A function that returns energy and forces of a structure whose pairs are known."""
    species = model.species(atoms.numbers)

    def call() -> Results:
        return model.evaluate_pairs(species, pairs)

    return call
