"""Tables and the plot of a study."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ekd.files import atomic_write
from ekd.reporting.style import ENSEMBLE, STUDENT, TEACHER, save, styled_axes
from piece_settings import TEACHERS
from pieces import Row
from study import Study

COLUMNS = (
    "set",
    "seed",
    "variant",
    "model",
    *(
        f"{dataset}_{quantity}_{error}"
        for dataset in ("validation", "test")
        for quantity in ("energy", "force")
        for error in ("rmse", "mae")
    ),
    *(
        f"{dataset}_{estimate}_spearman"
        for dataset in ("validation", "test")
        for estimate in ("spread", "uncertainty")
    ),
    "training_seconds",
)
"""Of results.csv; errors in eV and eV/Å."""

FAR_COLUMNS = (
    "test_relative_energy_rmse",
    "test_spread_scale",
    "test_uncertainty_scale",
    "far_force_rmse",
    "far_force_mae",
    "far_energy_rmse",
    "far_energy_mae",
    "far_relative_energy_rmse",
    "far_spread_spearman",
    "far_uncertainty_spearman",
    "far_spread_scale",
    "far_uncertainty_scale",
)
"""And these, where a data set has a second test set that is far from the training set. A scale is
the error of the forces over what is told about it, root mean squares."""

ENERGY, FORCE = "test_energy_rmse", "test_force_rmse"
PART = ("energy_rmse", "force_rmse")


def write(study: Study, rows: Sequence[Row], folder: Path) -> str:
    """Write ``results.csv``, ``results.md`` and ``results.png``; return the text."""
    columns = [
        *COLUMNS,
        *(FAR_COLUMNS if _have_far(rows) else ()),
        *(f"{part}_{key}" for part in _parts(study) for key in PART),
    ]
    rounded = [{key: _rounded(row.get(key)) for key in columns} for row in rows]
    text = markdown(study, rows)
    write_files(folder, "results", columns, rounded, text)
    _plot(rows, folder / "results.png")
    return text


def write_files(
    folder: Path, name: str, columns: Sequence[str], rows: Sequence[Row], text: str
) -> None:
    """Write ``NAME.csv``, with these columns of the rows, and ``NAME.md``."""
    with (
        atomic_write(folder / f"{name}.csv") as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_write(folder / f"{name}.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _rounded(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def markdown(study: Study, rows: Sequence[Row]) -> str:
    """A table for every data set: mean and sample standard deviation over seeds."""
    lines = [f"# {study.title}", ""]
    for name in dict.fromkeys(row["set"] for row in rows):
        here = [row for row in rows if row["set"] == name]
        lines += [
            f"## {name}",
            "",
            *_table(here),
            "",
            *(_near_and_far(here) if _have_far(here) else ()),
            *_apart(study, name, here),
            *_gap(study, here),
        ]
    lines += [
        "Root mean square errors, mean ± standard deviation over the seeds. *vs teacher* and *vs "
        "ensemble*: against the mean single teacher and the ensemble of the same seed, those that "
        "the student has learned from. *held out*: "
        "the part of the training file that is not trained on. *rank correlation*: Spearman's, of "
        "the true errors of the forces on the test set with the spread of the members, or with the "
        "uncertainty that a student has *learned*. *minutes*: of one core for the training, while "
        "the machine did other things too; without pools, bases and labels.",
        "",
    ]
    if _have_far(rows):
        lines += [
            "*Near* is the test set, *far* one of molecules that the training set does not have. "
            "*relative energy*: between all pairs of conformers of a molecule. *rank correlation* "
            "and *error / spread*, the ratio of root mean squares: of the true errors of the "
            "forces with the spread of the members, or with what a single student has learned of "
            "it.",
            "",
        ]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> list[str]:
    heads = [
        "model",
        "seeds",
        "held out energy (meV)",
        "held out forces (meV/Å)",
        "energy (meV)",
        "vs teacher",
        "vs ensemble",
        "forces (meV/Å)",
        "vs teacher",
        "vs ensemble",
        "rank correlation, spread",
        "learned",
        "minutes",
    ]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for variant, model in dict.fromkeys((row["variant"], row["model"]) for row in rows):
        of = {
            row["seed"]: row for row in rows if (row["variant"], row["model"]) == (variant, model)
        }
        cells = [
            _label(next(iter(of.values()))),
            str(len(of)),
            _milli(of, "validation_energy_rmse"),
            _milli(of, "validation_force_rmse"),
        ]
        for key in (ENERGY, FORCE):
            teacher, ensemble = (
                _ratios(of, rows, key, baseline) for baseline in ("single teacher", "ensemble")
            )
            cells.append(_milli(of, key))
            cells.append(f"{100 * (np.mean(teacher) - 1):+.1f} %" if teacher else "")
            cells.append(f"{np.mean(ensemble):.3f}×" if ensemble else "")
        cells.append(_spread(of, "test_spread_spearman", 1, ".2f"))
        cells.append(_spread(of, "test_uncertainty_spearman", 1, ".2f"))
        cells.append(_spread(of, "training_seconds", 1 / 60, ".1f"))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _have_far(rows: Sequence[Row]) -> bool:
    return any("far_energy_rmse" in row for row in rows)


def _near_and_far(rows: Sequence[Row]) -> list[str]:
    """A table for each of the two test sets, with the same columns."""
    lines: list[str] = []
    quantities = {
        "forces (meV/Å)": "force_rmse",
        "energy (meV)": "energy_rmse",
        "relative energy (meV)": "relative_energy_rmse",
    }
    for title, dataset in (("near", "test"), ("far", "far")):
        heads = [title, "seeds"]
        for head in quantities:
            heads += [head, "× teacher", "× ensemble"]
        heads += ["rank correlation", "error / spread"]
        lines += [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
        for who in dict.fromkeys(map(_who, rows)):
            of = {row["seed"]: row for row in rows if _who(row) == who}
            cells = [_label(next(iter(of.values()))), str(len(of))]
            for quantity in quantities.values():
                key = f"{dataset}_{quantity}"
                cells.append(_milli(of, key))
                for baseline in ("single teacher", "ensemble"):
                    ratios = _ratios(of, rows, key, baseline)
                    cells.append(f"{np.mean(ratios):.3f}" if ratios else "")
            for number in ("spearman", "scale"):
                spread = _spread(of, f"{dataset}_spread_{number}", 1, ".2f")
                learned = _spread(of, f"{dataset}_uncertainty_{number}", 1, ".2f")
                cells.append(spread or learned)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return lines


def _parts(study: Study, name: str | None = None) -> list[str]:
    """Parts of the test file of a data set that are measured apart; None: of all."""
    sets = study.slices if name is None else {name: study.slices.get(name, {})}
    return [f"test {part}" for parts in sets.values() for part in parts]


def _apart(study: Study, name: str, rows: Sequence[Row]) -> list[str]:
    parts = _parts(study, name)
    if not parts:
        return []
    heads = [f"{part}, {unit}" for part in parts for unit in ("energy (meV)", "forces (meV/Å)")]
    lines = [f"| model | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for who in dict.fromkeys(map(_who, rows)):
        of = {row["seed"]: row for row in rows if _who(row) == who}
        cells = [_milli(of, f"{part}_{key}") for part in parts for key in PART]
        lines.append(f"| {_label(next(iter(of.values())))} | {' | '.join(cells)} |")
    return [*lines, ""]


def _gap(study: Study, rows: Sequence[Row]) -> list[str]:
    """How much of what forces can give beyond energies the labels give; nothing without both.

    Where several variants learn energies alone, or true forces, the first of each is meant.
    """
    energies, forces = (
        next((v.name for v in study.variants if v.learn == learn), "")
        for learn in ("energies", "forces")
    )
    by_seed: dict[tuple[str, int], Row] = {
        (row["variant"], row["seed"]): row for row in rows if row["model"] == "student"
    }
    lines = []
    for name in (v.name for v in study.variants if v.learn == "labels"):
        for key, title in ((ENERGY, "energies"), (FORCE, "forces")):
            shares = []
            for seed in dict.fromkeys(row["seed"] for row in rows):
                found = [by_seed.get((who, seed)) for who in (energies, name, forces)]
                values = [row[key] for row in found if row is not None]
                if len(values) == 3:
                    lower, here, upper = values
                    shares.append((lower - here) / (lower - upper))
            if shares:
                each = ", ".join(f"{100 * share:.0f}" for share in shares)
                lines += [
                    f"Of the gap between *{energies}* and *{forces}*, *{name}* closes "
                    f"{100 * np.mean(shares):.0f} % for {title} (seeds: {each} %).",
                    "",
                ]
    return lines


def _who(row: Row) -> tuple[str, str]:
    return row["variant"], row["model"]


def _milli(of: dict[int, Row], key: str) -> str:
    return _spread(of, key, 1e3, ".1f")


def _spread(of: dict[int, Row], key: str, factor: float, form: str) -> str:
    values = [factor * row[key] for row in of.values() if row.get(key) is not None]
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def _ratios(of: dict[int, Row], rows: Sequence[Row], key: str, baseline: str) -> list[float]:
    """Error over that of the teachers of the same seed, those that a row names as its own."""
    base = {
        (row["seed"], row["variant"]): row[key]
        for row in rows
        if row["model"] == baseline and key in row
    }
    return [
        row[key] / base[seed, row["teachers"]]
        for seed, row in of.items()
        if key in row and (seed, row["teachers"]) in base
    ]


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Energies and forces of every data set, every seed a point, beside what teachers reach."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    n = max(len({_who(row) for row in rows if row["set"] == s}) for s in sets)
    quantities = ((ENERGY, "energy RMSE (meV)"), (FORCE, "force RMSE (meV/Å)"))
    with styled_axes(len(sets), 2, (9.5, (1.2 + 0.32 * n) * len(sets))) as (figure, axes):
        for k, axis in enumerate(axes):
            name, (key, title) = sets[k // 2], quantities[k % 2]
            here = [row for row in rows if row["set"] == name and row.get(key) is not None]
            labels = list(dict.fromkeys(_label(row) for row in here))
            for row in here:
                color = {"single teacher": TEACHER, "ensemble": ENSEMBLE}.get(row["model"], STUDENT)
                axis.plot(1e3 * row[key], labels.index(_label(row)), "o", color=color, alpha=0.7)
            for model, color in (("single teacher", TEACHER), ("ensemble", ENSEMBLE)):
                values = [1e3 * row[key] for row in here if _who(row) == (TEACHERS, model)]
                if values:
                    axis.axvline(float(np.mean(values)), color=color, linestyle="--", linewidth=1)
            axis.set_yticks(range(len(labels)), labels if k % 2 == 0 else [""] * len(labels))
            axis.invert_yaxis()
            axis.set_title(name if k % 2 == 0 else "")
            axis.set_xlabel(title)
        save(figure, path)


def _label(row: Row) -> str:
    if row["variant"] == row["teachers"]:
        return str(row["model"]) + row["variant"].removeprefix(TEACHERS)
    alone = row["model"] == "student"
    return str(row["variant"]) if alone else f"{row['variant']}, {row['model']}"
