"""Content of the summary for the configurations that are kept, and warnings about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import doubts
from ekd.data.readers.source import config_ranges
from ekd.elements import symbol
from ekd.preparation.analysis import Analysis
from ekd.preparation.kept_arrays import KeptArrays
from ekd.preparation.staging import Staging


def describe(
    staging: Staging, analysis: Analysis, kept: NDArray[np.bool_], columns: KeptArrays
) -> dict[str, Any]:
    """Return the entries of the summary that describe the configurations that are kept."""
    names = [symbol(int(number)) for number in analysis.elements]
    atoms = analysis.composition[kept].sum(axis=0)
    sizes, energies = np.diff(analysis.offsets)[kept], staging.array("energies")[kept]
    residuals = analysis.residuals[kept]
    near = analysis.pair_contacts
    forces = None
    if "forces" in columns.shapes:
        square, largest = 0.0, 0.0
        for piece in columns.pieces("forces"):
            square += float(np.square(piece).sum())
            largest = max(largest, float(np.abs(piece).max(initial=0.0)))
        forces = (float(np.sqrt(square / (3 * columns.shapes["forces"][0]))), largest)
    return {
        "n_configs": len(sizes),
        "n_atoms": int(sizes.sum()),
        "n_formulas": len(np.unique(analysis.composition[kept], axis=0)),
        "n_periodic": int(staging.array("pbc")[kept].any(axis=1).sum()),
        "elements": {name: int(n) for name, n in zip(names, atoms, strict=True) if n},
        "sizes": (int(sizes.min()), float(sizes.mean()), int(sizes.max())),
        "energies": (float(energies.min()), float(energies.max())),
        "reference_energies": {symbol(z): e for z, e in analysis.reference_energies.items()},
        "isolated_atoms": {symbol(z): e for z, e in analysis.isolated_atoms.items()},
        "reference_warnings": tuple(analysis.reference_warnings(kept, energies)),
        "residuals": (
            float(residuals.min()),
            float(np.sqrt(np.mean(np.square(residuals)))),
            float(residuals.max()),
        ),
        "contacts": {
            f"{names[i]}-{names[j]}": float(near[i, j])
            for i in range(len(names))
            for j in range(i, len(names))
            if np.isfinite(near[i, j])
        },
        "forces": forces,
        "work": analysis.work and asdict(analysis.work),
    }


def doubts_about(
    staging: Staging, analysis: Analysis, kept: NDArray[np.bool_], columns: KeptArrays
) -> list[str]:
    """Return warnings about the arrays, as in :func:`ekd.load_dataset`."""
    sizes = {seen.precision.size for seen in staging.seen if seen.precision.n}
    energies = np.asarray(staging.array("energies"))[kept]
    elements = analysis.elements.tolist()
    found = doubts.of_energies(
        "the data", elements, analysis.composition[kept], energies,
        sizes.pop() if len(sizes) == 1 else None,
    )  # fmt: skip
    numbers, positions = staging.array("atomic_numbers"), staging.array("positions")
    cells, pbc = staging.array("cells"), staging.array("pbc")
    if not analysis.unusable.any():
        found.append(
            doubts.of_lengths("the data", numbers, positions, analysis.offsets, cells, pbc)
        )
        largest = [
            doubts.extents(positions[offsets[0] : offsets[-1]], offsets)
            for first, last in config_ranges(analysis.offsets)
            if len(offsets := analysis.offsets[first : last + 1]) > 1
        ]
        found.append(
            doubts.of_distant_atoms("the data", np.concatenate(largest), analysis.offsets, pbc)
        )
    if "forces" in columns.shapes:
        offsets, forces = analysis.offsets, staging.array("forces")
        n_zero = sum(
            doubts.n_zero_forces(
                np.asarray(forces[offsets[first] : offsets[last]]), offsets[first : last + 1]
            )
            for first, last in config_ranges(offsets)
        )
        found.append(doubts.of_zero_forces("the data", n_zero, len(offsets) - 1))
    return [text for text in found if text is not None]


def types_of(staging: Staging) -> dict[str, dict[str, int]]:
    """Return counts by key and value, for keys with several values, but not too many."""
    counts: dict[str, Counter[str]] = {}
    for seen in staging.seen:
        for key, values in seen.types.items():
            counts.setdefault(key, Counter()).update(values)
    return {key: dict(values) for key, values in counts.items() if 1 < len(values) <= 50}
