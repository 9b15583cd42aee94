"""How long single teachers and students of a study survive in molecular dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ekd
from ekd.dynamics.replicas import Outcome
from ekd.dynamics.survival import Survival as Curve
from ekd.dynamics.survival import survival as curve_of
from piece_settings import TEACHERS
from pieces import Row, Workshop
from study import Survival
from tables import write_files

COLUMNS = (
    "set",
    "seed",
    "structure",
    "temperature",
    "model",
    "n_runs",
    "n_failed",
    "median",
    "low",
    "high",
    "longest",
    "ratio",
    "is_lower_limit",
)
"""Of survival.csv: temperatures in K, times in ps; an empty median lies beyond the longest run."""


def survive(shop: Workshop, name: str, seed: int, survival: Survival) -> list[Row]:
    """Run single teachers and the students of some variants; finished runs are found again."""
    experiments = shop.experiments(survival.variants, name, seed)
    structures: list[Any] = list(survival.molecules)
    if survival.first_of_test:
        structures.append(experiments[0].truth["test"].atoms(0))
    # Single teachers by name, because the ensemble would run too, at many times the cost.
    chosen = shop.teachers(survival.teachers_of, experiments)
    teachers = chosen.members[: survival.n_teachers]
    models: dict[str, Any] = {f"{TEACHERS} {k}": model for k, model in enumerate(teachers)}
    models |= {e.variant.name: e.students.members[0] for e in experiments}
    result = ekd.stability(
        models,
        structures,
        output=shop.folder / f"survival-{name}-{seed}",
        progress=shop.progress,
        n_workers=shop.n_workers,
        **survival.settings,
    )
    outcomes: dict[tuple[str, float, str], list[Outcome]] = {}
    for row in result.survival:
        model = "single teacher" if row.model.startswith(TEACHERS) else row.model
        outcomes.setdefault((row.structure, row.temperature, model), []).extend(row.outcomes)
    rows = []
    for (structure, temperature, model), found in outcomes.items():
        curve = _curve(found)
        single = _curve(outcomes[structure, temperature, "single teacher"])
        ratio = None
        if single.median is not None and model != "single teacher":
            ratio = (curve.median or curve.longest) / single.median
        rows.append(
            {
                "set": name,
                "seed": seed,
                "structure": structure,
                "temperature": temperature,
                "model": model,
                "n_runs": curve.n_runs,
                "n_failed": curve.n_failed,
                "median": curve.median,
                "low": curve.low,
                "high": curve.high,
                "longest": curve.longest,
                "ratio": ratio,
                "is_lower_limit": ratio and curve.median is None,
                "text": curve.median_text,
            }
        )
    return rows


def _curve(outcomes: Sequence[Outcome]) -> Curve:
    return curve_of(
        [outcome.time for outcome in outcomes],
        [outcome.failure is not None for outcome in outcomes],
    )


def write(rows: Sequence[Row], folder: Path) -> str:
    """Write ``survival.csv`` and ``survival.md``; return the text."""
    lines = [
        "# Survival in molecular dynamics",
        "",
        "| set | seed | structure | T (K) | model | runs | failed | median (ps) | × single |",
        "| --- | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        ratio = ""
        if row["ratio"] is not None:
            ratio = f"{'> ' if row['is_lower_limit'] else ''}{row['ratio']:.1f}"
        cells = [row[key] for key in ("set", "seed", "structure")]
        cells += [f"{row['temperature']:.0f}", row["model"], row["n_runs"], row["n_failed"]]
        lines.append(f"| {' | '.join(map(str, [*cells, row['text'], ratio]))} |")
    lines += [
        "",
        "Median time to failure with its 95 % confidence interval; *× single*: over that of the "
        "single teachers of the same seed, a lower limit where more than half of the runs survive.",
        "",
    ]
    text = "\n".join(lines)
    write_files(folder, "survival", COLUMNS, rows, text)
    return text
