"""Warnings and errors after a whole file has been read."""

from __future__ import annotations

from pathlib import Path

from ekd.data.readers.annotations import check_seen
from ekd.data.readers.observed import Observed
from ekd.data.readers.source import Request


def judge(request: Request, seen: Observed, path: Path, energy: str) -> list[str]:
    """Check the counts collected from all configurations of a file.

    Args:
        request: what was requested.
        seen: counts of all blocks.
        path: the file.
        energy: key of the energy that was read.

    Returns:
        warnings, each with a remedy.

    Raises:
        DataError: charges, spins or methods are mixed, or nothing is selected.
    """
    warnings = check_seen(request, seen, path)
    if seen.energies and request.energy is None:
        others = ", ".join(f"'{key}' in {n:,}" for key, n in sorted(seen.energies.items()))
        warnings.append(
            f"'{energy}' is read from '{path}', which has other energies too: {others} "
            "configurations. Specify which one to use with energy"
        )
    if seen.n_free_energies:
        warnings.append(
            f"'free_energy' in '{path}' differs from 'energy' in {seen.n_free_energies:,} "
            f"configurations, by up to {1000 * seen.free_energy:.4g} meV, as with smearing. "
            "'energy' is read, but forces are gradients of the free energy: if they are used, give "
            "energy='free_energy'"
        )
    for where, text in seen.unread_units.items():
        warnings.append(
            f"'{where}' in '{path}' is '{text}', which is ignored, because it does not name a "
            "quantity; give energy_unit, and length_unit if it is not Å"
        )
    if (coarse := seen.precision.step()) is not None:
        how, step = coarse
        warnings.append(
            f"energies in '{path}' are {'in ' if 'precision' in how else ''}{how}, rounded to "
            f"steps of {_short(1000 * step)} meV, below which nothing can be learned. Convert "
            "them again, in double precision and with more digits"
        )
    return warnings


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
