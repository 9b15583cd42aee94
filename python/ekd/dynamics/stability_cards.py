"""The first lines of a stability report: which model lasts longest, and which drifts least."""

from __future__ import annotations

from collections.abc import Iterator

from ekd.dynamics.stability_results import ALL, Stability, SurvivalRow


def stability_cards(result: Stability) -> list[dict[str, str]]:
    """Summary cards for the report, one per temperature and one for the energy drift.

    Returns:
        cards with ``label``, ``unit``, ``value`` and ``note``.
    """
    return [*_survival(result), *_drift(result)]


def _survival(result: Stability) -> Iterator[dict[str, str]]:
    several = len(result.structures) > 1
    rows = [row for row in result.survival if not several or row.structure == ALL]
    for temperature in sorted({row.temperature for row in rows}):
        best, *others = sorted(
            (row for row in rows if row.temperature == temperature), key=_by_lifetime
        )
        n_survived = best.result.n_runs - best.result.n_failed
        note = f"{best.model}, median time to failure {best.result.median_text} ps"
        if others:
            (second, *_) = others
            left = second.result.n_runs - second.result.n_failed
            note += f"; next {second.model}, {left} of {second.result.n_runs}"
        yield {
            "label": f"Runs that survive at {temperature:g} K",
            "unit": f"{result.config.duration:g} ps",
            "value": f"{n_survived} of {best.result.n_runs}",
            "note": note,
        }


def _by_lifetime(row: SurvivalRow) -> tuple[float, float]:
    """Sort key: the smallest share of failures first, then the longest mean lifetime."""
    return row.result.n_failed / row.result.n_runs, -row.result.mean_time


def _drift(result: Stability) -> Iterator[dict[str, str]]:
    known = [row for row in result.drift if row.drift is not None]
    if not known:
        return
    timestep = min(row.timestep for row in known)
    best = min((row for row in known if row.timestep == timestep), key=lambda row: row.drift or 0.0)
    yield {
        "label": "Smallest energy drift",
        "unit": "µeV/atom/ps",
        "value": f"{1e6 * (best.drift or 0.0):.3g}",
        "note": f"{best.model}, {best.structure}, time step {1e3 * timestep:g} fs",
    }
