"""How much a rank of pair_style ekd has to evaluate, counted from the geometry of its domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ekd.neighbor_list import neighbor_list


@dataclass(frozen=True)
class Work:
    """Of one rank, one evaluation of the model; means over the ranks.

    ``centres`` and ``pairs`` are per interaction, as pair_style ekd evaluates them.
    ``least_pairs`` is what could not be avoided: of wide ghosts, only those within k cutoffs
    matter to an interaction that k others follow.
    """

    n_owned: float
    n_ghosts: float
    centres: float
    pairs: float
    least_pairs: float


def count_work(
    atoms: Atoms, n_domains: int, cutoff: float, skin: float, n_interactions: int, wide: bool
) -> Work:
    """Count for a box that is cut into equal slabs along x.

    Args:
        atoms: a periodic structure in an orthogonal cell.
        n_domains: number of slabs, one for each rank.
        cutoff: of the model, Å.
        skin: of the neighbour lists, Å.
        n_interactions: of the model.
        wide: ghosts reach all interactions and are evaluated; else they reach one cutoff, and
            only owned atoms are evaluated.
    """
    reach = (n_interactions if wide else 1) * cutoff + skin
    size = np.diag(atoms.cell.array) / [n_domains, 1, 1]
    counts = [
        _of_domain(atoms, np.array([k * size[0], 0.0, 0.0]), size, reach, cutoff, n_interactions)
        for k in range(n_domains)
    ]
    n_owned, n_all, own_pairs, all_pairs, least = np.mean(counts, axis=0)
    return Work(
        n_owned=n_owned,
        n_ghosts=n_all - n_owned,
        centres=n_all if wide else n_owned,
        pairs=all_pairs if wide else own_pairs,
        least_pairs=least if wide else own_pairs,
    )


def _of_domain(
    atoms: Atoms,
    low: np.ndarray,
    size: np.ndarray,
    reach: float,
    cutoff: float,
    n_interactions: int,
) -> tuple[float, ...]:
    positions = _images(atoms, low - reach, low + size + reach)
    # Beyond each face of the domain, 0 within it.
    outside = np.maximum(np.maximum(low - positions, positions - (low + size)), 0.0)
    owned = np.all((positions >= low) & (positions < low + size), axis=1)
    centres = neighbor_list(positions, cutoff).pairs[0]
    distance = np.linalg.norm(outside, axis=1)
    matters = [owned | (distance < k * cutoff) for k in range(n_interactions)]
    least = np.mean([mask[centres].sum() for mask in matters])
    return owned.sum(), len(positions), owned[centres].sum(), len(centres), float(least)


def _images(atoms: Atoms, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Positions [n, 3] of all atoms and periodic images in a brick."""
    cell = np.diag(atoms.cell.array)
    first, last = np.floor(low / cell).astype(int), np.floor(high / cell).astype(int)
    shifts = np.array(list(np.ndindex(*(last - first + 1)))) + first
    positions = (atoms.get_positions(wrap=True) + (shifts * cell)[:, None]).reshape(-1, 3)
    return positions[np.all((positions >= low) & (positions < high), axis=1)]
