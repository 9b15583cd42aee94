"""Tables of an evaluation: for the terminal, and as CSV and LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ekd.evaluation.evaluation_results import Evaluation, Row
from ekd.files import atomic_write
from ekd.units import KCAL_PER_MOL

_LABELS = {
    "energy": "energy",
    "energy_per_atom": "energy/atom",
    "relative_energy": "ΔE",
    "force": "force",
}
_COLUMNS = (
    ("energy", "rmse"),
    ("energy", "mae"),
    ("energy_per_atom", "rmse"),
    ("relative_energy", "rmse"),
    ("relative_energy", "mae"),
    ("force", "rmse"),
    ("force", "mae"),
    ("force", "q99"),
    ("force", "max"),
)
_IN_TERMINAL = {column for column in _COLUMNS if column != ("force", "q99")} - {
    ("energy_per_atom", "rmse")  # 80 characters are enough for seven columns
}
_STATISTICS = {"rmse": "RMSE", "mae": "MAE", "q99": "99 %", "max": "max"}


@dataclass(frozen=True)
class Units:
    """Units for display.

    Attributes:
        energy: unit of energies.
        force: unit of forces.
        factor: conversion factor from eV.
    """

    energy: str
    force: str
    factor: float

    @classmethod
    def named(cls, name: str) -> Units:
        """Return the units for ``meV`` or ``kcal/mol``."""
        if name == "meV":
            return cls("meV", "meV/Å", 1e3)
        return cls("kcal/mol", "kcal/mol/Å", 1 / KCAL_PER_MOL)

    def of(self, quantity: str) -> str:
        """Return the unit of a quantity."""
        return self.force if quantity == "force" else self.energy

    def show(self, value: float | None) -> str:
        """Format a number with three digits and at most two decimals; – for None."""
        if value is None:
            return "–"
        shown = value * self.factor
        digits = 2 if abs(shown) < 10 else 1 if abs(shown) < 1000 else 0
        return f"{shown:.{digits}f}"


@dataclass(frozen=True)
class Line:
    """One line of the main table.

    Attributes:
        dataset: name of the dataset.
        part: description of the slice.
        model: name of the model.
        values: errors by quantity and statistic, eV and eV/Å.
        n: number of configurations.
    """

    dataset: str
    part: str
    model: str
    values: Mapping[tuple[str, str], float]
    n: int


def columns(result: Evaluation) -> list[tuple[str, str]]:
    """Return quantity and statistic of the nonempty columns of the main table."""
    there = {row.quantity for row in result.rows}
    return [column for column in _COLUMNS if column[0] in there]


def main_lines(result: Evaluation) -> list[Line]:
    """Return lines for all datasets and energy windows, except windows that include everything."""
    whole = {
        (row.dataset, row.model): row.n_configs for row in result.rows if row.slice_kind == "all"
    }
    lines: dict[tuple[str, str, str], tuple[dict[tuple[str, str], float], int]] = {}
    for row in result.rows:
        if row.slice_kind not in ("all", "window"):
            continue
        if row.slice_kind == "window" and row.n_configs == whole[row.dataset, row.model]:
            continue
        part = "all" if row.slice_kind == "all" else f"within {row.slice_name}"
        values, _ = lines.setdefault((row.dataset, part, row.model), ({}, row.n_configs))
        for statistic in _STATISTICS:
            values[row.quantity, statistic] = getattr(row.errors, statistic)
    order = {name: k for k, name in enumerate(dict.fromkeys(row.dataset for row in result.rows))}
    return [
        Line(dataset, part, model, values, n)
        for (dataset, part, model), (values, n) in sorted(
            lines.items(), key=lambda item: (order[item[0][0]], item[0][1] != "all")
        )
    ]


def heading(column: tuple[str, str], units: Units) -> str:
    """Return a heading of two lines: quantity and statistic, and unit."""
    quantity, statistic = column
    return f"{_LABELS[quantity]} {_STATISTICS[statistic]}\n{units.of(quantity)}"


def terminal_tables(result: Evaluation) -> list[Table]:
    """Return tables of errors, calibrations and scans."""
    units = Units.named(result.units)
    levels = {row.dataset: row.level_of_theory for row in result.rows}
    tables = []
    used = [column for column in columns(result) if column in _IN_TERMINAL]
    previous = None
    for line in main_lines(result):
        if (line.dataset, line.part) != previous:
            previous = (line.dataset, line.part)
            table = _started(
                f"{line.dataset}, {line.part}: {line.n} configurations, {levels[line.dataset]}",
                [heading(column, units).replace(" ", "\n", 1) for column in used],
            )
            tables.append(table)
        table.add_row(line.model, *(units.show(line.values.get(column)) for column in used))
    tables += [_calibration_table(result)] if result.calibrations else []
    tables += [_curve_table(result, units)] if result.curves else []
    return tables


def _started(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for text in headings:
        table.add_column(text, justify="right")
    return table


def _calibration_table(result: Evaluation) -> Table:
    headings = ["Spear-\nman", "Pear-\nson", "error/\nspread", "calib.\nerror", "retention\ngain"]
    table = _started("Spread or learned uncertainty against true error", ["", *headings])
    previous = None
    for row in result.calibrations:
        found = row.result
        if row.dataset != previous:
            table.add_row(f"[dim]{row.dataset}[/dim]")
            previous = row.dataset
        table.add_row(
            row.model,
            f"{'forces' if row.quantity == 'force' else 'energy/atom'}, {row.estimate}",
            *(
                "–" if value is None else f"{value:.2f}"
                for value in (
                    found.spearman,
                    found.pearson,
                    found.scale,
                    found.calibration_error,
                    found.retention_gain,
                )
            ),
        )
    return table


def _curve_table(result: Evaluation, units: Units) -> Table:
    unit = units.energy
    table = _started(
        "Scans",
        ["", f"MAE\n{unit}", f"RMSE\n{unit}", f"max\n{unit}", f"range error\n{unit}"],
    )
    for curve in result.curves:
        for name, model in curve.models.items():
            numbers = (model.mae, model.rmse, model.max, model.range_error)
            table.add_row(f"{curve.dataset} {curve.name}", name, *map(units.show, numbers))
    return table


def write_tables(result: Evaluation, folder: Path) -> None:
    """Write all numbers as CSV (eV, eV/atom, eV/Å), and the main table and elements as LaTeX."""
    write_csv(
        folder / "errors.csv",
        [
            {
                "dataset": row.dataset,
                "level_of_theory": row.level_of_theory,
                "slice": row.slice_kind,
                "slice_name": row.slice_name,
                "n_configs": row.n_configs,
                "model": row.model,
                "quantity": row.quantity,
                "unit": {"force": "eV/Å", "energy_per_atom": "eV/atom"}.get(row.quantity, "eV"),
                **asdict(row.errors),
            }
            for row in result.rows
        ],
    )
    write_csv(folder / "calibration.csv", [calibration_record(row) for row in result.calibrations])
    write_csv(
        folder / "curves.csv",
        [
            {
                "dataset": curve.dataset,
                "level_of_theory": curve.level_of_theory,
                "curve": curve.name,
                "coordinate": curve.coordinate,
                "x": x,
                "reference": curve.reference[k],
                **{name: model.energies[k] for name, model in curve.models.items()},
            }
            for curve in result.curves
            for k, x in enumerate(curve.x)
        ],
    )
    with atomic_write(folder / "errors.tex") as temporary:
        temporary.write_text(main_latex(result), encoding="utf-8")
    with atomic_write(folder / "elements.tex") as temporary:
        temporary.write_text(elements_latex(result), encoding="utf-8")


def calibration_record(row: Any) -> dict[str, Any]:
    """Return the numbers of one calibration; areas in eV/Å or eV/atom."""
    found = row.result
    return {
        "dataset": row.dataset,
        "level_of_theory": row.level_of_theory,
        "model": row.model,
        "quantity": row.quantity,
        "estimate": row.estimate,
        "n": found.n,
        "spearman": found.spearman,
        "pearson": found.pearson,
        "error_over_spread": found.scale,
        "calibration_error": found.calibration_error,
        "retention_area": found.area,
        "retention_area_oracle": found.area_oracle,
        "retention_area_random": found.area_random,
        "retention_gain": found.retention_gain,
    }


def main_latex(result: Evaluation) -> str:
    """Return the main table as LaTeX; requires the package booktabs."""
    units = Units.named(result.units)
    used = columns(result)
    levels = {row.dataset: row.level_of_theory for row in result.rows}
    head = " & ".join(
        [
            "",
            *(
                rf"\shortstack{{{tex(_LABELS[q])} {tex(_STATISTICS[s])}\\{tex(units.of(q))}}}"
                for q, s in used
            ),
        ]
    )
    body: list[str] = []
    previous = None
    for line in main_lines(result):
        if (line.dataset, line.part) != previous:
            previous = (line.dataset, line.part)
            title = f"{line.dataset} ({levels[line.dataset]}), {line.part}, {line.n} configurations"
            body += [r"\midrule", rf"\multicolumn{{{len(used) + 1}}}{{l}}{{{tex(title)}}} \\"]
        cells = [tex(units.show(line.values.get(column))) for column in used]
        body.append(" & ".join([rf"\quad {tex(line.model)}", *cells]) + r" \\")
    return latex_table("l" + "r" * len(used), head, body)


def element_cells(result: Evaluation, dataset: str) -> tuple[list[str], dict[str, dict[str, Row]]]:
    """Return the elements, and for each model the errors of the forces on them."""
    rows = result.select(dataset, quantity="force", kind="element")
    elements = list(dict.fromkeys(row.slice_name for row in rows))
    cells: dict[str, dict[str, Row]] = {}
    for row in rows:
        cells.setdefault(row.model, {})[row.slice_name] = row
    return elements, cells


def elements_latex(result: Evaluation) -> str:
    """Return the force RMSE on each element as LaTeX."""
    units = Units.named(result.units)
    parts = []
    for dataset in dict.fromkeys(row.dataset for row in result.rows):
        elements, cells = element_cells(result, dataset)
        if not elements:
            continue
        head = " & ".join([f"{tex(dataset)}: force RMSE ({tex(units.force)})", *elements])
        body = [r"\midrule"]
        for model, row in cells.items():
            numbers = [units.show(row[e].errors.rmse) if e in row else "–" for e in elements]
            body.append(" & ".join([tex(model), *map(tex, numbers)]) + r" \\")
        parts.append(latex_table("l" + "r" * len(elements), head, body))
    return "\n".join(parts)


def latex_table(alignment: str, head: str, body: Sequence[str]) -> str:
    """Return a LaTeX table in the style of booktabs."""
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        rf"{head} \\",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


_TEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "_": r"\_",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "Å": r"\AA{}",
        "Δ": r"$\Delta$",
        "–": "--",
        "ω": r"$\omega$",
    }
)


def tex(text: str) -> str:
    """Escape a text for LaTeX."""
    return text.translate(_TEX)


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records; without records the file is removed."""
    if not records:
        path.unlink(missing_ok=True)
        return
    names = list(dict.fromkeys(name for record in records for name in record))
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(records)
