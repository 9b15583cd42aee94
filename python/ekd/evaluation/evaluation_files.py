"""The files of an evaluation: report, summary, tables, plots."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ekd.elements import symbol
from ekd.evaluation import comparison_plots
from ekd.evaluation.evaluation_results import Evaluation, Row
from ekd.evaluation.tables import (
    Units,
    calibration_record,
    columns,
    heading,
    main_lines,
    write_tables,
)
from ekd.files import atomic_write
from ekd.locks import locked_folder
from ekd.reporting.html import embedded, fill
from ekd.reporting.style import save_all

_WORST = 15  # number of groups in the report


def write_evaluation(
    result: Evaluation, folder: str | os.PathLike[str], vector_plots: bool = False
) -> None:
    """Write ``report.html``, ``summary.json``, ``tables/`` and ``plots/``.

    Args:
        result: result of :func:`ekd.evaluate`.
        folder: output folder, created if missing. Files of an earlier evaluation are replaced.
        vector_plots: write the plots as PDF and SVG too.

    Raises:
        EKDError: another process is writing to the folder, or it cannot be written to.
    """
    with locked_folder(folder):
        _write(result, Path(folder), vector_plots)


def _write(result: Evaluation, folder: Path, vector_plots: bool) -> None:
    write_tables(result, folder / "tables")
    drawn = comparison_plots.draw(result)
    plots = {name: figure for name, (figure, _) in drawn.items()}
    paths = save_all(plots, folder / "plots", vector_plots)
    figures = [
        {**about, "image": embedded(paths[name]), "width": round(110 * figure.get_figwidth())}
        for name, (figure, about) in drawn.items()
    ]
    with atomic_write(folder / "report.html") as temporary:
        temporary.write_text(_report(result, figures), encoding="utf-8")
    with atomic_write(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary(result), indent=1) + "\n", encoding="utf-8")


def summary(result: Evaluation) -> dict[str, Any]:
    """Return all results except those by group, ready for JSON; eV, eV/atom and eV/Å."""

    def numbers(row: Row) -> dict[str, Any]:
        return {
            "dataset": row.dataset,
            "level_of_theory": row.level_of_theory,
            "slice": row.slice_kind,
            "slice_name": row.slice_name,
            "n_configs": row.n_configs,
            "model": row.model,
            "quantity": row.quantity,
            **asdict(row.errors),
        }

    return {
        "models": [asdict(model) for model in result.models],
        "datasets": [
            {**asdict(data), "elements": [symbol(z) for z in data.elements]}
            for data in result.datasets
        ],
        "windows_kcal_per_mol": result.windows,
        "errors": [numbers(row) for row in result.rows if row.slice_kind != "group"],
        "calibration": [_finite(calibration_record(row)) for row in result.calibrations],
        "curves": [
            {
                "dataset": curve.dataset,
                "curve": curve.name,
                "level_of_theory": curve.level_of_theory,
                "coordinate": curve.coordinate,
                "n_points": len(curve.x),
                "models": {
                    name: {
                        "mae": model.mae,
                        "rmse": model.rmse,
                        "max": model.max,
                        "range_error": model.range_error,
                        "minimum_shift": model.minimum_shift,
                    }
                    for name, model in curve.models.items()
                },
            }
            for curve in result.curves
        ],
        "notes": result.notes,
    }


def software() -> str:
    """Describe the software versions, the machine and the time."""
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "ase")]
    return (
        f"{', '.join(versions)}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores; "
        f"{datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}"
    )


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """Replace numbers that are not finite by None, because JSON does not support them."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }


def _report(result: Evaluation, figures: Sequence[Mapping[str, Any]]) -> str:
    units = Units.named(result.units)
    used = columns(result)
    levels = {row.dataset: row.level_of_theory for row in result.rows}
    return fill(
        "ekd.evaluation",
        "evaluation.html.j2",
        result=result,
        units=units,
        headings=[heading(column, units).split("\n") for column in used],
        lines=[
            {
                "dataset": line.dataset,
                "level": levels[line.dataset],
                "part": line.part,
                "n": line.n,
                "model": line.model,
                "values": [units.show(line.values.get(column)) for column in used],
            }
            for line in main_lines(result)
        ],
        figures=figures,
        summary=_summary(result),
        worst=_worst(result),
        calibrations=[calibration_record(row) for row in result.calibrations],
        symbols={data.name: ", ".join(map(symbol, data.elements)) for data in result.datasets},
        software=software(),
    )


def _summary(result: Evaluation) -> list[dict[str, str]]:
    """Return for each dataset the model with the smallest error, and the next one."""
    units = Units.named(result.units)
    cards = []
    for data in result.datasets:
        rows = result.select(data.name, kind="all")
        for quantity, title in (("force", "force RMSE"), ("relative_energy", "ΔE RMSE")):
            ranked = sorted(
                (
                    row
                    for row in rows
                    if row.quantity == quantity and math.isfinite(row.errors.rmse)
                ),
                key=lambda row: row.errors.rmse,
            )
            if ranked:
                best, *others = ranked
                cards.append(
                    {
                        "label": f"{data.name}: {title}",
                        "unit": units.of(quantity),
                        "value": units.show(best.errors.rmse),
                        "model": best.model,
                        "next": f"{others[0].model}: {units.show(others[0].errors.rmse)}"
                        if others
                        else "",
                    }
                )
    return cards


def _worst(result: Evaluation) -> list[dict[str, Any]]:
    """Return for each dataset the groups with the largest errors of the last model."""
    if not result.models:
        return []
    units, last = Units.named(result.units), result.models[-1].name
    worst = []
    for data in result.datasets:
        rows = result.select(data.name, kind="group")
        names = list(dict.fromkeys(row.model for row in rows))
        quantity = "force" if data.has_forces else "energy_per_atom"
        by_group: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row.quantity == quantity:
                by_group.setdefault(row.slice_name, {})[row.model] = row
        ranked = sorted(
            (group for group in by_group.items() if last in group[1]),
            key=lambda item: -item[1][last].errors.rmse,
        )
        if ranked:
            worst.append(
                {
                    "dataset": data.name,
                    "quantity": "force" if quantity == "force" else "energy per atom",
                    "unit": units.of(quantity),
                    "last": last,
                    "models": names,
                    "groups": [
                        {
                            "name": name,
                            "n": models[last].n_configs,
                            "values": [
                                units.show(models[m].errors.rmse if m in models else None)
                                for m in names
                            ],
                        }
                        for name, models in ranked[:_WORST]
                    ],
                    "n_groups": len(ranked),
                }
            )
    return worst
