"""Results of a run: summary.json, the plots, report.html, and a table for the terminal."""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from ekd.config import RESOLVED
from ekd.data import Dataset
from ekd.evaluation import Metrics, improvement, mean
from ekd.evaluation.metrics import NAMES
from ekd.files import atomic_write, sha256
from ekd.pipeline import run_plots
from ekd.pipeline.evaluation import FAR, NEAR
from ekd.pipeline.run_report import Report, write_report
from ekd.reporting.html import formula
from ekd.reporting.style import save_all

_WIDEST = 50  # characters of the first column; longer text is wrapped
_RUNS = {"nve": "molecule at constant energy", "water": "box of water"}
_ERRORS = {
    "force_rmse": "force RMSE (meV/Å)",
    "force_mae": "force MAE (meV/Å)",
    "energy_rmse": "energy RMSE (meV)",
    "relative_energy_rmse": "ΔE RMSE (meV)",
}
"""Errors shown side by side for the test set and the far set, with headings. ΔE are energy
differences of conformers as in ``ekd evaluate``, without constant errors per molecule."""
_MODELS = {"mean_teacher": "mean teacher", "ensemble": "ensemble", "student": "student"}
_TELLING = {"ensemble_spread": "ensemble's spread", "student_uncertainty": "student's uncertainty"}
_TOLD = {"error_over_spread": "force error / {}", "spearman": "Spearman, {}"}
_NO_RELATIVE_ENERGY: dict[str, Any] = {"teachers": [], "ensemble": None, "student": None}
_WATER = ("mean_temperature", "target_temperature", "intact_share", "atom_steps_per_second")


@dataclass(frozen=True)
class Line:
    """A number for the test set and for the far set.

    Attributes:
        label: description with unit.
        near: value on the test set.
        far: value on the far set.
        strong: whether the line is highlighted.
        last: whether the line ends a block.
    """

    label: str
    near: str
    far: str
    strong: bool = False
    last: bool = False


def summarize(
    evaluation: Mapping[str, Any],
    dynamics: Mapping[str, Any] | None,
    wall_seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Collect the results of a run; energies in eV, forces in eV/Å.

    Args:
        evaluation: content of ``evaluation/metrics.json``, written by the stage ``evaluate``.
        dynamics: content of ``lammps/results.json``, written by the stage ``lammps``; None: not
            run.
        wall_seconds: wall time of each stage.
    """
    nve = (dynamics or {}).get("nve") or {}
    water = (dynamics or {}).get("water")
    far = evaluation.get("far")
    return {
        **_measured(evaluation),
        "far": far and _measured(far),
        "nve_drift_per_atom_per_ps": nve.get("drift_per_atom_per_ps"),
        "nve_max_deviation_per_atom": nve.get("max_deviation_per_atom"),
        "lammps_minus_ase": (
            dynamics["lammps_minus_ase"]
            if dynamics
            else {"energy": None, "force": None, "pressure": None}
        ),
        "water": water and {name: water[name] for name in _WATER},
        "broken_off": broken_off(dynamics or {}),
        "wall_seconds": dict(wall_seconds),
    }


def _measured(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the errors of the models on one set."""
    teachers = [Metrics(**entry) for entry in evaluation["teachers"]]
    average = mean(teachers)
    # Evaluations of an older version lack both.
    relative = evaluation.get("relative_energy_rmse", _NO_RELATIVE_ENERGY)
    known = [value for value in relative["teachers"] if value is not None]
    relative = relative | {"mean_teacher": float(np.mean(known)) if known else None}
    told = evaluation["spearman"]
    result = {
        "n_configs": evaluation.get("n_configs"),
        "teacher_names": evaluation["teacher_names"],
        "teachers": {name: [getattr(teacher, name) for teacher in teachers] for name in NAMES},
        "mean_teacher": {name: getattr(average, name) for name in NAMES},
        "ensemble": evaluation["ensemble"],
        "student": evaluation["student"],
        "relative_energy_rmse": relative,
        "n_students": evaluation["n_students"],
        "spearman": told,
        "error_over_spread": evaluation.get("error_over_spread", dict.fromkeys(told)),
        "improvement": improvement(Metrics(**evaluation["student"]), average),
    }
    result["student_over"] = {
        who: {
            name: _ratio(_error(result, "student", name), _error(result, who, name))
            for name in _ERRORS
        }
        for who in ("mean_teacher", "ensemble")
    }
    return result


def _error(measured: Mapping[str, Any], who: str, name: str) -> float | None:
    """An error of the mean teacher, the ensemble or the student."""
    found: float | None = (
        measured[name][who] if name == "relative_energy_rmse" else measured[who][name]
    )
    return found


def _ratio(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else value / reference


def broken_off(dynamics: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each failed LAMMPS run in ``lammps/results.json``."""
    return [
        f"the {_RUNS[name]} failed in LAMMPS at {failure['time']:.3g} of "
        f"{failure['duration']:.3g} ps ({failure['reason']}): this student is not suitable for it; "
        f"train it longer or on more data, and look at 'lammps/{name}'"
        for name, failure in dynamics.get("failures", {}).items()
    ]


def draw(
    folder: Path,
    evaluation: Mapping[str, Any],
    dynamics: Mapping[str, Any] | None,
    truth: Dataset,
    far: Dataset | None = None,
    vector_plots: bool = False,
) -> dict[str, Path]:
    """Draw all plots for the available results into ``plots/`` of the output folder.

    Args:
        folder: the output folder.
        evaluation: as for :func:`summarize`.
        dynamics: as for :func:`summarize`.
        truth: reference data for the errors.
        far: the far set; names of its plots begin with ``far_``.
        vector_plots: write them as PDF and SVG too.

    Returns:
        the PNG files by the names used in the report.
    """
    dynamics = dynamics or {"nve": None, "water": None}
    histories = [
        folder / "teachers" / f"member-{k}" / "history.csv"
        for k in range(len(evaluation["teachers"]))
    ]  # other teachers have none
    figures = _compared(folder / "evaluation" / NEAR, evaluation, truth)
    if far is not None:
        of_far = _compared(folder / "evaluation" / FAR, evaluation["far"], far)
        figures |= {f"far_{name}": figure for name, figure in of_far.items()}
    figures["learning_curves"] = run_plots.learning_curves(
        [read_history(path) for path in histories if path.exists()],
        _student_histories(folder / "student", evaluation["n_students"]),
    )
    if nve := dynamics["nve"]:
        time = np.array(nve["time"])
        figures["nve_energy"] = run_plots.nve_energy(
            time, np.array(nve["total_energy"]), nve["n_atoms"], nve["drift_per_atom_per_ps"]
        )
        figures["nve_temperature"] = run_plots.temperature(
            time, np.array(nve["temperature"]), None, f"Temperature, {formula(nve['molecule'])}"
        )
    if water := dynamics["water"]:
        figures["rdf"] = run_plots.radial_distribution(np.array(water["r"]), np.array(water["g"]))
        figures["water_temperature"] = run_plots.temperature(
            np.array(water["time"]),
            np.array(water["temperature"]),
            water["target_temperature"],
            "Temperature, water",
            equilibration=water["equilibration"],
        )
    return save_all(figures, folder / "plots", vector_plots)


def _compared(path: Path, evaluation: Mapping[str, Any], truth: Dataset) -> dict[str, Figure]:
    """Plot the predictions of the models on one set."""
    with np.load(path) as file:
        predictions = dict(file)
    n_teachers = len(evaluation["teachers"])
    panels = {
        f"{n_teachers} teachers": "teacher",
        "ensemble": "ensemble",
        "student": "student",
    }

    def panel_values(quantity: str) -> dict[str, list[np.ndarray]]:
        values = {label: predictions[f"{who}_{quantity}"] for label, who in panels.items()}
        return {
            # Energies are missing if they are at another level of theory.
            label: list(all_) if all_.ndim > 1 + (quantity == "forces") else [all_]
            for label, all_ in values.items()
        }

    figures = {
        "accuracy": run_plots.accuracy(
            [Metrics(**entry) for entry in evaluation["teachers"]],
            Metrics(**evaluation["ensemble"]),
            Metrics(**evaluation["student"]),
        ),
        "energy_parity": run_plots.energy_parity(
            truth.energies, truth.groups, panel_values("energies")
        ),
    }
    if truth.forces is not None:
        figures["force_parity"] = run_plots.force_parity(truth.forces, panel_values("forces"))
        if n_teachers > 1:
            error = predictions["ensemble_forces"] - truth.forces
            figures["force_spread"] = run_plots.force_spread(
                np.sqrt(np.mean(error**2, axis=1)), predictions["ensemble_forces_std"]
            )
    return figures


def write(
    folder: Path,
    summary: Mapping[str, Any],
    figures: Mapping[str, Path],
    dynamics: Mapping[str, Any] | None,
    training_set: Dataset,
    truth: Dataset,
    held_out: str,
    far: Dataset | None = None,
) -> None:
    """Write ``report.html`` and ``summary.json``.

    Args:
        folder: the output folder.
        summary: from :func:`summarize`.
        figures: from :func:`draw`.
        dynamics: as for :func:`summarize`.
        training_set: training set of the teachers.
        truth: reference data for the errors.
        held_out: description of ``truth``.
        far: the far set, if there is one.
    """
    report = Report(
        title="Ensemble knowledge distillation",
        summary=summary,
        truth=f"the {held_out}: {_described(truth)}",
        far=None if far is None else f"the far set: {_described(far)}",
        near_and_far=near_and_far(summary),
        figures=figures,
        dynamics=dynamics,
        provenance=_provenance(folder, training_set, truth, far),
        config=(folder / RESOLVED).read_text(encoding="utf-8"),
    )
    write_report(report, folder / "report.html")
    with atomic_write(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")


def _described(data: Dataset) -> str:
    level = data.provenance.level_of_theory
    return f"{len(data)} configurations, {data.n_atoms} atoms, {level}"


def table(summary: Mapping[str, Any]) -> Table:
    """Return the summary as one table for the terminal."""
    result = Table(title="Ensemble knowledge distillation", title_justify="left")
    result.add_column("", max_width=_WIDEST)
    for heading in ("energy RMSE", "energy MAE", "force RMSE", "force MAE"):
        unit = "meV" if heading.startswith("energy") else "meV/Å"
        result.add_column(f"{heading}\n{unit}", justify="right")

    def milli(value: float | None) -> str:
        return "–" if value is None else f"{1e3 * value:.1f}"

    teachers = summary["teachers"]
    for i, teacher in enumerate(summary["teacher_names"]):
        result.add_row(teacher, *(milli(teachers[name][i]) for name in NAMES), style="dim")
    rows = (("mean teacher", "mean_teacher"), ("ensemble", "ensemble"), ("student", "student"))
    for label, key in rows:
        style = "bold" if key == "student" else None
        result.add_row(label, *(milli(summary[key][name]) for name in NAMES), style=style)
    shares = (summary["improvement"][name] for name in NAMES)
    result.add_row(
        "student vs mean teacher",
        *("–" if share is None else f"{-100 * share:+.1f} %" for share in shares),
        end_section=True,
    )

    def line(label: str, value: float | None, unit: str, style: str = "{:.2e}") -> None:
        if value is not None:
            result.add_row(label, style.format(value), unit, "", "")

    if not summary["far"]:  # otherwise they are in the table of near and far
        told, scale = summary["spearman"], summary["error_over_spread"]
        first = "ensemble's spread and its force errors, Spearman"
        line(first, told["ensemble_spread"], "", "{:.2f}")
        line("student's uncertainty, likewise", told["student_uncertainty"], "", "{:.2f}")
        for who, label in _TELLING.items():
            line(f"force error / {label}", scale[who], "", "{:.2f}")
    line("NVE drift", summary["nve_drift_per_atom_per_ps"], "eV/atom/ps")
    line("NVE, largest deviation", summary["nve_max_deviation_per_atom"], "eV/atom")
    if water := summary["water"]:
        line("water, whole molecules", 100 * water["intact_share"], "%", "{:.1f}")
        line("water, mean temperature", water["mean_temperature"], "K", "{:.0f}")
        line("water, speed", water["atom_steps_per_second"] / 1e3, "katom-step/s", "{:.1f}")
    for sentence in summary["broken_off"]:
        result.add_row(escape(sentence), style="yellow")
    difference = summary["lammps_minus_ase"]
    line("LAMMPS − ASE, energy", difference["energy"], "eV/atom")
    line("LAMMPS − ASE, forces", difference["force"], "eV/Å")
    line("LAMMPS − ASE, pressure", difference["pressure"], "relative")
    total = sum(summary["wall_seconds"].values())
    result.add_row("wall time", f"{total:.0f}", "s", "", "")
    return result


def far_table(summary: Mapping[str, Any]) -> Table | None:
    """Return the errors on the test set and the far set side by side; None without a far set."""
    lines = near_and_far(summary)
    if not lines:
        return None
    result = Table(title="Near the training data and far from it", title_justify="left")
    result.add_column("")
    for heading in ("near", "far"):
        result.add_column(heading, justify="right")
    for line in lines:
        style = "bold" if line.strong else None
        result.add_row(line.label, line.near, line.far, style=style, end_section=line.last)
    return result


def near_and_far(summary: Mapping[str, Any]) -> list[Line]:
    """Return the errors on the test set and the far set; empty without a far set."""
    if not summary["far"]:
        return []
    sets = (summary, summary["far"])
    lines: list[Line] = []

    def add(label: str, values: Sequence[float | None], form: str, strong: bool = False) -> None:
        if any(value is not None for value in values):
            near, far = ("–" if value is None else form.format(value) for value in values)
            lines.append(Line(label, near, far, strong))

    def end_block() -> None:
        lines[-1] = replace(lines[-1], last=True)

    add("configurations", [one["n_configs"] for one in sets], "{}")
    end_block()
    for name, heading in _ERRORS.items():
        for who, label in _MODELS.items():
            errors = [_error(one, who, name) for one in sets]
            milli = [None if value is None else 1e3 * value for value in errors]
            add(f"{heading}, {label}", milli, "{:.1f}", strong=who == "student")
        for who in ("mean_teacher", "ensemble"):
            ratios = [one["student_over"][who][name] for one in sets]
            add(f"student / {_MODELS[who]}", ratios, "{:.2f}")
        end_block()
    for key, heading in _TOLD.items():
        for who, label in _TELLING.items():
            add(heading.format(label), [one[key][who] for one in sets], "{:.2f}")
    return lines


def _student_histories(folder: Path, n_students: int) -> list[dict[str, np.ndarray]]:
    if n_students == 1:
        return [read_history(folder / "history.csv")]
    return [read_history(folder / f"member-{i}" / "history.csv") for i in range(n_students)]


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Read the history of a training: columns by name, NaN where a value is missing."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = rows[0] if rows else {}
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def _provenance(
    folder: Path, training_set: Dataset, truth: Dataset, far: Dataset | None
) -> dict[str, str]:
    versions = [f"{name} {_version(name)}" for name in ("ekd", "torch", "numpy", "lammps")]
    data = training_set.provenance
    provenance = {
        "training set": f"{data.path}: {len(training_set)} configurations, {data.level_of_theory}",
        "its SHA-256": data.sha256,
    }
    for name, held_out in (("test set", truth), ("far set", far)):
        if held_out is not None and held_out.provenance.path != data.path:
            path = held_out.provenance.path
            provenance[name] = f"{path}: {len(held_out)} configurations"
            provenance[f"{name}'s SHA-256"] = held_out.provenance.sha256
    if (folder / "student.pt").exists():
        provenance["student.pt, SHA-256"] = sha256(folder / "student.pt")
    provenance["software"] = ", ".join([*versions, f"Python {platform.python_version()}"])
    provenance["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    provenance["written"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return provenance


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
