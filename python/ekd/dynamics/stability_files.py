"""The files of a stability test: report, summary, tables, plots."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.table import Table

from ekd.dynamics.failures import KINDS
from ekd.dynamics.stability_cards import stability_cards
from ekd.dynamics.stability_results import ALL, Stability, SurvivalRow
from ekd.dynamics.stability_settings import StabilityConfig
from ekd.evaluation.evaluation_files import software
from ekd.evaluation.tables import latex_table, tex, write_csv
from ekd.files import atomic_write
from ekd.locks import locked_folder
from ekd.reporting.html import embedded, fill
from ekd.reporting.style import colors_of, plain_log, save_all, styled_axes


def write_stability(result: Stability, folder: str | os.PathLike[str]) -> None:
    """Write ``report.html``, ``summary.json``, ``tables/`` and ``plots/``.

    Args:
        result: result of :func:`ekd.stability`.
        folder: output folder, created if missing. Files of an earlier test are replaced.

    Raises:
        EKDError: another process is writing to the folder, or it cannot be written to.
    """
    with locked_folder(folder):
        _write(result, Path(folder))


def _write(result: Stability, folder: Path) -> None:
    write_csv(
        folder / "tables" / "runs.csv",
        [
            {
                "structure": row.structure,
                "temperature_K": row.temperature,
                "model": row.model,
                "engine": row.engine,
                "seed": outcome.seed,
                "time_ps": outcome.time,
                "failure": outcome.failure or "",
            }
            for row in result.survival
            if row.structure != ALL
            for outcome in row.outcomes
        ],
    )
    write_csv(
        folder / "tables" / "survival.csv",
        [survival_record(result, row) for row in result.survival],
    )
    write_csv(folder / "tables" / "drift.csv", [asdict(row) for row in result.drift])
    with atomic_write(folder / "tables" / "survival.tex") as temporary:
        temporary.write_text(survival_latex(result), encoding="utf-8")
    plots = draw(result)
    paths = save_all(plots, folder / "plots", result.config.vector_plots)
    figures = [
        {
            "kind": name,
            "image": embedded(paths[name]),
            "width": round(110 * figure.get_figwidth()),
        }
        for name, figure in plots.items()
    ]
    with atomic_write(folder / "report.html") as temporary:
        temporary.write_text(_report(result, figures), encoding="utf-8")
    with atomic_write(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary(result), indent=1) + "\n", encoding="utf-8")


def summary(result: Stability) -> dict[str, Any]:
    """Return all results except single runs, ready for JSON; ps, K, eV/atom."""
    settings = result.config.model_dump(mode="json", exclude={"models", "structures", "output"})
    return {
        "models": result.models,
        "structures": {
            name: {"formula": atoms.get_chemical_formula(), "periodic": bool(atoms.pbc.any())}
            for name, atoms in result.structures.items()
        },
        "settings": settings,
        "survival": [survival_record(result, row) for row in result.survival],
        "drift": [asdict(row) for row in result.drift],
        "seconds": dict(result.seconds),
    }


def survival_record(result: Stability, row: SurvivalRow) -> dict[str, Any]:
    """Return one row as plain values; times beyond the longest run are None."""
    found = row.result
    ratio, is_limit = result.ratio(row) or (None, False)
    return {
        "structure": row.structure,
        "temperature_K": row.temperature,
        "model": row.model,
        "engine": row.engine,
        "n_runs": found.n_runs,
        "n_failed": found.n_failed,
        "median_ps": found.median,
        "median_low_ps": found.low,
        "median_high_ps": found.high,
        "mean_ps": found.mean_time,
        "longest_ps": found.longest,
        "median_over_single": ratio,
        "median_over_single_is_lower_limit": is_limit,
        **{f"failed_{kind}": row.failures.get(kind, 0) for kind in KINDS},
    }


def ratio_text(result: Stability, row: SurvivalRow) -> str:
    """Format a ratio: ``3.1``, ``> 3.1`` for a lower limit, – if unknown."""
    found = result.ratio(row)
    return "–" if found is None else f"{'> ' if found[1] else ''}{found[0]:.3g}"


def failures_text(row: SurvivalRow) -> str:
    """Format the failures: ``3 bond, 1 temperature``; – for none."""
    return ", ".join(f"{n} {kind}" for kind, n in row.failures.items()) or "–"


def terminal_tables(result: Stability) -> list[Table]:
    """Return the tables of survival and drift."""
    tables = []
    if result.survival:
        table = Table(title="Survival of molecular dynamics", title_justify="left")
        table.add_column("", no_wrap=True)
        table.add_column("median time to\nfailure, ps [95 %]", justify="right", no_wrap=True)
        if result.baseline is not None:
            table.add_column("×\nsingle", justify="right", no_wrap=True)
        table.add_column("failed", justify="right", no_wrap=True)
        table.add_column("failures")
        previous = None
        for row in ordered(result):
            if previous != (row.structure, row.temperature):
                if previous is not None:
                    table.add_section()
                table.add_row(f"[dim]{row.structure}, {row.temperature:g} K[/dim]")
            previous = (row.structure, row.temperature)
            table.add_row(
                row.model,
                row.result.median_text,
                *([ratio_text(result, row)] if result.baseline is not None else []),
                f"{row.result.n_failed} of {row.result.n_runs}",
                failures_text(row),
            )
        tables.append(table)
    if result.drift:
        table = Table(title="Energy conservation (NVE)", title_justify="left")
        for name in ("structure", "model"):
            table.add_column(name)
        for name in (
            "time step\nfs",
            "drift\nµeV/atom/ps",
            "fluctuation\nµeV/atom",
            "failed",
        ):
            table.add_column(name, justify="right")
        for one in result.drift:
            table.add_row(
                one.structure,
                one.model,
                f"{1e3 * one.timestep:g}",
                "–" if one.drift is None else f"{1e6 * one.drift:.3g}",
                "–" if one.fluctuation is None else f"{1e6 * one.fluctuation:.3g}",
                f"{one.n_failed} of {one.n_runs}",
            )
        tables.append(table)
    return tables


def ordered(result: Stability) -> list[SurvivalRow]:
    """Sort rows by structure, temperature and model, with the rows of all structures last."""
    names = [*result.structures, ALL]
    return sorted(
        result.survival,
        key=lambda row: (
            names.index(row.structure),
            row.temperature,
            result.models.index(row.model),
        ),
    )


def survival_latex(result: Stability) -> str:
    """Return the table of survival as LaTeX; requires the package booktabs."""
    head = r" & $T$ (K) & & runs & failed & median (ps) & mean (ps)"
    body = [r"\midrule"]
    for row in ordered(result):
        cells = [
            tex(row.structure),
            f"{row.temperature:g}",
            tex(row.model),
            str(row.result.n_runs),
            str(row.result.n_failed),
            row.result.median_text.replace(">", "$>$"),
            f"{row.result.mean_time:.3g}",
        ]
        body.append(" & ".join(cells) + r" \\")
    return latex_table("lrlrrrr", head, body)


def draw(result: Stability) -> dict[str, Figure]:
    """Draw survival curves, and drift against the time step."""
    figures = {}
    if result.survival:
        figures["survival"] = survival_curves(result)
    if any(row.drift is not None for row in result.drift):
        figures["drift"] = drift_curves(result)
    return figures


def survival_curves(result: Stability) -> Figure:
    """Fraction of the runs that have not failed against time; one panel per temperature."""
    several = len(result.structures) > 1
    rows = [row for row in result.survival if not several or row.structure == ALL]
    temperatures = sorted({row.temperature for row in rows})
    colors = colors_of(result.models)
    n_columns = min(3, len(temperatures))
    n_rows = -(-len(temperatures) // n_columns)
    size = (max(3.3 * n_columns, 4.6), 2.9 * n_rows)
    with styled_axes(n_rows, n_columns, size=size) as (figure, axes):
        for ax, temperature in zip(axes, temperatures, strict=False):
            for model in result.models:
                for row in rows:
                    if (row.temperature, row.model) != (temperature, model):
                        continue
                    found = row.result
                    time = np.concatenate([[0.0], found.times])
                    share, low, high = (
                        100 * np.concatenate([[1.0], curve])
                        for curve in (found.shares, found.band_low, found.band_high)
                    )
                    ax.step(time, share, where="post", color=colors[model], label=model)
                    ax.fill_between(
                        time, low, high, step="post", color=colors[model], alpha=0.15, lw=0
                    )
                    ends = sorted({o.time for o in row.outcomes if o.failure is None})
                    at = [float(np.interp(t, time, share)) for t in ends]
                    ax.plot(ends, at, "|", color=colors[model], ms=9, mew=1.6)
            ax.set(
                title=f"{temperature:g} K",
                xlabel="time (ps)",
                ylabel="runs that survive (%)",
                ylim=(-3, 104),
            )
            ax.set_xlim(left=0)
        for ax in axes[len(temperatures) :]:
            ax.set_visible(False)
        axes[0].legend(loc="lower left", fontsize=8)
    return figure


def drift_curves(result: Stability) -> Figure:
    """Drift and fluctuation of the total energy against the time step."""
    colors = colors_of(result.models)
    styles = dict(zip(result.structures, ["o-", "s--", "^:", "d-."] * 8, strict=False))
    with styled_axes(1, 2, size=(9.0, 3.2)) as (figure, axes):
        for ax, name, title, unit in zip(
            axes,
            ("drift", "fluctuation"),
            ("Drift of the total energy", "Fluctuation of the total energy"),
            ("µeV/atom/ps", "µeV/atom"),
            strict=True,
        ):
            for structure in result.structures:
                for model in result.models:
                    rows = [
                        row
                        for row in result.drift
                        if (row.structure, row.model) == (structure, model)
                        and getattr(row, name) is not None
                    ]
                    rows.sort(key=lambda row: row.timestep)
                    label = model if len(styles) == 1 else f"{model}, {structure}"
                    ax.plot(
                        [1e3 * row.timestep for row in rows],
                        [1e6 * getattr(row, name) for row in rows],
                        styles[structure],
                        color=colors[model],
                        ms=4,
                        label=label if rows else None,
                    )
            ax.set(title=title, xlabel="time step (fs)", ylabel=unit, xscale="log", yscale="log")
            steps = sorted({1e3 * row.timestep for row in result.drift})
            ax.set_xticks(steps, [f"{step:g}" for step in steps])
            ax.xaxis.set_minor_locator(NullLocator())
            plain_log(ax.yaxis)
        axes[0].legend(fontsize=7.5)
    return figure


def criteria(config: StabilityConfig) -> list[str]:
    """Describe the failure criteria."""
    limits = config.failure
    return [
        f"a bond of the starting structure (atoms closer than {limits.bond_factor:g} times the sum "
        f"of their covalent radii) is longer than {limits.broken_factor:g} times that sum;",
        f"two atoms are closer than {limits.contact_factor:g} times that sum;",
        f"the potential energy has changed by more than {limits.energy_limit:g} eV per atom;",
        f"the temperature is exceeded with a probability of at most {limits.false_alarm:g} in a "
        "canonical ensemble with the same number of atoms;",
        "energy or forces are not finite, or the calculator or LAMMPS fails.",
    ]


def _report(result: Stability, figures: list[dict[str, Any]]) -> str:
    previous = None
    lines = []
    for row in ordered(result):
        first = previous != (row.structure, row.temperature)
        previous = (row.structure, row.temperature)
        lines.append(
            {
                "first": first,
                "structure": row.structure,
                "temperature": f"{row.temperature:g}",
                "model": row.model,
                "engine": row.engine,
                "n_runs": row.result.n_runs,
                "n_failed": row.result.n_failed,
                "median": row.result.median_text,
                "mean": f"{row.result.mean_time:.3g}",
                "ratio": ratio_text(result, row),
                "failures": failures_text(row),
            }
        )
    return fill(
        "ekd.dynamics",
        "stability.html.j2",
        result=result,
        cards=stability_cards(result),
        lines=lines,
        figures=figures,
        criteria=criteria(result.config),
        kinds=KINDS,
        software=software(),
    )
