"""The report has all parts for the available results, and the summary has its keys."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ekd.data import Dataset
from ekd.evaluation import compare
from ekd.pipeline import run_summary

SECONDS = {"train": 100.0, "label": 1.5, "distill": 65.0, "evaluate": 1.0, "export": 3.0}


@dataclass
class Predictions:
    energies: np.ndarray
    forces: np.ndarray


@dataclass
class Results:
    """Results of the stages before the report."""

    folder: Path
    truth: Dataset
    evaluation: dict[str, Any]
    dynamics: dict[str, Any]

    def report(self, dynamics: dict[str, Any] | None) -> str:
        """Run the last stage; return the report."""
        figures = run_summary.draw(self.folder, self.evaluation, dynamics, self.truth)
        content = run_summary.summarize(self.evaluation, dynamics, SECONDS)
        run_summary.write(
            self.folder, content, figures, dynamics, self.truth, self.truth, held_out="test set"
        )
        return (self.folder / "report.html").read_text(encoding="utf-8")


def history(path: Path, epochs: int, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    lines = ["epoch,validation_energy_rmse,force_rmse,validation_force_rmse"]
    for epoch in range(1, epochs + 1):
        energy, force = (1.0 / epoch * rng.uniform(0.9, 1.1, 2) + 0.03).tolist()
        lines.append(f"{epoch},{energy},,{force}")  # the force error of training is missing
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def results(tmp_path: Path, test_dataset: Dataset) -> Results:
    """Three teachers and a student with errors of the usual size, and LAMMPS runs."""
    rng = np.random.default_rng(0)
    truth = test_dataset
    assert truth.forces is not None

    def predictions(energy_error: float, force_error: float) -> Predictions:
        return Predictions(
            truth.energies + energy_error * rng.normal(size=len(truth)),
            truth.forces + force_error * rng.normal(size=(truth.n_atoms, 3)),
        )

    teachers = [predictions(0.04, 0.5) for _ in range(3)]
    forces = np.stack([teacher.forces for teacher in teachers])
    energies = np.stack([teacher.energies for teacher in teachers])
    ensemble = Predictions(energies.mean(axis=0), forces.mean(axis=0))
    student = predictions(0.03, 0.38)
    folder = tmp_path / "run"
    (folder / "evaluation").mkdir(parents=True)
    np.savez(
        folder / "evaluation" / "predictions.npz",
        teacher_energies=energies,
        teacher_forces=forces,
        ensemble_energies=ensemble.energies,
        ensemble_forces=ensemble.forces,
        ensemble_forces_std=np.sqrt(np.mean(forces.std(axis=0) ** 2, axis=1)),
        student_energies=student.energies,
        student_forces=student.forces,
    )
    for i in range(3):
        history(folder / "teachers" / f"member-{i}" / "history.csv", 20, rng)
    history(folder / "student" / "history.csv", 20, rng)
    (folder / "config.resolved.toml").write_text('output = "<run>"\n')
    time = np.linspace(0, 10, 400)
    r = np.linspace(0.05, 6, 120)
    dynamics = {
        "nve": {
            "molecule": "CH3OH",
            "n_atoms": 6,
            "duration": 10.0,
            "timestep": 0.00025,
            "drift_per_atom_per_ps": -2.3e-8,
            "max_deviation_per_atom": 4.5e-6,
            "time": time.tolist(),
            "total_energy": (-3000 + 1e-5 * np.sin(30 * time)).tolist(),
            "temperature": (300 + 80 * np.sin(35 * time)).tolist(),
        },
        "water": {
            "n_molecules": 64,
            "n_ranks": 2,
            "duration": 2.0,
            "timestep": 0.0005,
            "target_temperature": 300.0,
            "mean_temperature": 301.234,
            "intact_share": 1.0,
            "atom_steps_per_second": 12345.0,
            "equilibration": 2.5,
            "time": time.tolist(),
            "temperature": (300 + 20 * np.sin(20 * time)).tolist(),
            "r": r.tolist(),
            "g": (1 + 2 * np.exp(-(((r - 2.8) / 0.15) ** 2)) - np.exp(-(r**2) / 2)).tolist(),
        },
        "comparisons": [
            {
                "structure": "water",
                "n_ranks": 2,
                "energy": 1e-15,
                "force": 2e-13,
                "pressure": 3e-12,
            },
            {"structure": "molecule", "n_ranks": 1, "energy": 0.0, "force": 0.0, "pressure": None},
        ],
        "lammps_minus_ase": {"energy": 1e-15, "force": 2e-13, "pressure": 3e-12},
    }
    evaluation = {
        "teacher_names": ["teacher 0", "teacher 1", "calculator"],
        "teachers": [asdict(compare(teacher, truth)) for teacher in teachers],
        "ensemble": asdict(compare(ensemble, truth)),
        "student": asdict(compare(student, truth)),
        "n_students": 1,
        "spearman": {"ensemble_spread": 0.51, "student_uncertainty": 0.62},
    }
    return Results(folder, truth, evaluation, dynamics)


def test_summary_has_the_promised_keys(results: Results) -> None:
    content = run_summary.summarize(results.evaluation, results.dynamics, SECONDS)
    content = json.loads(json.dumps(content))
    for who in ("teachers", "ensemble", "student"):
        assert set(content[who]) == {"energy_rmse", "energy_mae", "force_rmse", "force_mae"}
    assert len(content["teachers"]["force_rmse"]) == 3
    assert isinstance(content["student"]["force_rmse"], float)
    assert content["nve_drift_per_atom_per_ps"] == -2.3e-8
    assert content["lammps_minus_ase"] == {"energy": 1e-15, "force": 2e-13, "pressure": 3e-12}
    assert content["wall_seconds"]["train"] == 100.0
    share = 1 - content["student"]["force_rmse"] / np.mean(content["teachers"]["force_rmse"])
    assert content["improvement"]["force_rmse"] == pytest.approx(share)


def test_report_has_all_parts_and_needs_nothing_else(results: Results) -> None:
    html = results.report(results.dynamics)
    for heading in ("Accuracy", "Training", "Molecular dynamics", "LAMMPS against ASE"):
        assert f"<h2>{heading}" in html
    for heading in ("Wall time", "Provenance"):
        assert f"<h2>{heading}" in html
    assert html.count("data:image/png;base64,") == 9
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "2.0·10⁻¹³" in html
    assert "−2.3·10⁻⁸" in html
    assert "output = &#34;&lt;run&gt;&#34;" in html  # user input is escaped


def test_report_says_when_the_water_is_none(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_summary, "draw", lambda *_: {})
    warning = "not suitable for liquid water"
    assert warning not in results.report(results.dynamics)
    results.dynamics["water"]["mean_temperature"] = 345.0
    assert warning in results.report(results.dynamics)
    results.dynamics["water"].update(mean_temperature=300.0, intact_share=63 / 64)
    assert warning in results.report(results.dynamics)


def test_run_that_broke_off_is_reported(results: Results) -> None:
    """The report, the summary and the table show the failure instead of missing values."""
    failure = {"reason": "ERROR: Lost atoms: original 192 [x]", "time": 0.125, "duration": 2.0}
    results.dynamics.update(water=None, failures={"water": failure})
    html = results.report(results.dynamics)
    assert "The box of water failed in LAMMPS at 0.125 of 2 ps (ERROR: Lost atoms" in html
    assert "Runs are omitted" not in html
    assert html.count("data:image/png;base64,") == 7
    content = json.loads((results.folder / "summary.json").read_text())
    assert content["water"] is None
    assert "train it longer or on more data" in content["broken_off"][0]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(run_summary.table(content))
    shown = console.export_text()
    assert "the box of water failed in LAMMPS" in shown
    assert "[x]" in shown
    assert max(map(len, shown.splitlines())) < 120
    results.dynamics.update(nve=None)
    assert "Runs are omitted" in results.report(results.dynamics)


def test_report_without_lammps(results: Results) -> None:
    html = results.report(None)
    assert "Molecular dynamics" not in html
    assert html.count("data:image/png;base64,") == 5


def test_report_without_true_forces(results: Results) -> None:
    results.truth = replace(results.truth, forces=None)
    for entry in (*results.evaluation["teachers"], results.evaluation["student"]):
        entry.update(force_rmse=None, force_mae=None)
    results.evaluation["ensemble"].update(force_rmse=None, force_mae=None)
    html = results.report(None)
    assert "force RMSE" not in html
    assert html.count("data:image/png;base64,") == 3


def test_teacher_at_another_level_of_theory(results: Results) -> None:
    """Its forces are compared, but its energies are not."""
    results.evaluation["teachers"][2].update(energy_rmse=None, energy_mae=None)
    path = results.folder / "evaluation" / "predictions.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"teacher_energies": arrays["teacher_energies"][:2]}))
    (results.folder / "teachers" / "member-2" / "history.csv").unlink()
    html = results.report(None)
    assert "<td>calculator</td><td>–</td>" in html
    assert html.count("data:image/png;base64,") == 5
    content = run_summary.summarize(results.evaluation, None, SECONDS)
    energies = [entry["energy_rmse"] for entry in results.evaluation["teachers"][:2]]
    assert content["mean_teacher"]["energy_rmse"] == pytest.approx(np.mean(energies))


def test_no_teacher_at_the_level_of_the_data(results: Results) -> None:
    for entry in (*results.evaluation["teachers"], results.evaluation["ensemble"]):
        entry.update(energy_rmse=None, energy_mae=None)
    path = results.folder / "evaluation" / "predictions.npz"
    with np.load(path) as file:
        arrays = dict(file)
    none = np.empty((0, len(results.truth)))
    np.savez(path, **(arrays | {"teacher_energies": none, "ensemble_energies": none}))
    html = results.report(None)
    assert html.count("data:image/png;base64,") == 5
    assert "not comparable with the mean teacher" in html
    content = run_summary.summarize(results.evaluation, None, SECONDS)
    assert content["mean_teacher"]["energy_rmse"] is None
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(run_summary.table(content))
    assert "calculator" in console.export_text()


def test_table_for_the_terminal(results: Results) -> None:
    content = run_summary.summarize(results.evaluation, results.dynamics, SECONDS)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(run_summary.table(content))
    text = console.export_text()
    assert f"{1e3 * content['student']['force_rmse']:.1f}" in text
    assert "-2.30e-08" in text
    assert "12.3 │ katom-step/s" in text
    assert re.search(r"student's uncertainty, likewise +│ +0\.62", text)
