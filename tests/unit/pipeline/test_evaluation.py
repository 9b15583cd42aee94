"""The stage ``evaluate``, near the training data and far from them, and its output."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich.console import Console

from ekd.config import Config, validate_config
from ekd.data import Dataset, load_dataset
from ekd.errors import DataError, EKDError
from ekd.evaluation import compare
from ekd.evaluation.accuracy import conformers, relative_errors
from ekd.pipeline import run_summary
from ekd.pipeline.evaluation import told_errors
from ekd.pipeline.record import Existing
from ekd.pipeline.runner import Pipeline
from ekd.training import EnsemblePredictions
from ekd.training.predictions import Predictions

ENERGY, FORCES = "ccsd(t)_ccpvdz.energy", "ccsd(t)_ccpvdz.forces"
KEYS = {"energy": ENERGY, "forces": FORCES, "energy_unit": "Hartree"}
STAGES = ("train", "label", "distill", "evaluate", "report")


def select(source: Path, target: Path, systems: list[str], begin: int, end: int) -> None:
    """Copy some configurations of some systems, with all other data of the file."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name in systems:
            for key, values in old[name].items():
                new[f"{name}/{key}"] = values[:] if key == "atomic_numbers" else values[begin:end]
            n = len(new[f"{name}/coordinates"])
            new[f"{name}/kind"] = ["stretched"] * n
            new[f"{name}/value"] = np.linspace(1, 2, n)
            new[f"{name}/t1_diagnostic"] = np.full(n, 0.01)


@pytest.fixture(scope="module")
def config(
    tiny_training_file: Path, test_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Config:
    """A finished run with a test set and a far set."""
    folder = tmp_path_factory.mktemp("far")
    select(test_file, folder / "test.h5", ["H2O", "CH4", "C2H2"], 0, 2)
    select(test_file, folder / "far.h5", ["C2H4", "C2H6"], 2, 5)
    training = {"epochs": 1, "batch_size": 8}
    config = validate_config(
        {
            "output": "run",
            "data": {"path": str(tiny_training_file), "energy": ENERGY},
            "test": {"path": "test.h5", **KEYS},
            "far": {"path": "far.h5", **KEYS},
            "model": {"n_features": 6, "n_sensitivities": 5, "n_atom_layers": 1, "l_max": 1},
            "teachers": {"n_members": 2, "n_workers": 1, "training": training},
            "labels": {"n_workers": 1},
            "student": {"training": training, "uncertainty": {"n_steps": 50}},
        },
        base=folder,
    )
    Pipeline(config, progress=False).run(STAGES)
    return config


def metrics(config: Config) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((config.output / "evaluation/metrics.json").read_text())
    return content


def shown(content: dict[str, Any]) -> str:
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(run_summary.table(content))
    if (table := run_summary.far_table(content)) is not None:
        console.print(table)
    return console.export_text()


def of_section(config: Config, name: str) -> Dataset:
    path = config.output.parent / f"{name}.h5"
    return load_dataset(path, energy=ENERGY, forces=FORCES, energy_unit="Hartree")


@pytest.mark.parametrize("name", ["test", "far"])
def test_errors_are_those_of_compare(config: Config, name: str) -> None:
    """The far set has the same keys as the test set."""
    truth = of_section(config, name)
    found = metrics(config) if name == "test" else metrics(config)["far"]
    pipeline = Pipeline(config, Existing.RESUME, progress=False)
    ensemble = pipeline.work.members.predict(truth)
    student = pipeline.work.students.predict(truth)
    assert found["n_configs"] == len(truth) > 0
    assert found["held_out"] == f"{name} set"
    assert found["teachers"] == [
        pytest.approx(asdict(compare(member, truth))) for member in ensemble.members
    ]
    assert found["ensemble"] == pytest.approx(asdict(compare(ensemble, truth)))
    assert found["student"] == pytest.approx(asdict(compare(student, truth)))
    relative = relative_errors(student.energies - truth.energies, conformers(truth))
    assert relative is not None
    assert found["relative_energy_rmse"]["student"] == pytest.approx(relative.rmse)


def test_far_entry_has_the_shape_of_the_whole(config: Config) -> None:
    found = metrics(config)
    assert set(found) - {"far"} == set(found["far"])


@pytest.mark.parametrize("name", ["test", "far"])
def test_ratio_of_error_and_spread(config: Config, name: str) -> None:
    """Computed from the stored predictions in plain numpy."""
    found = metrics(config) if name == "test" else metrics(config)["far"]
    file = "predictions.npz" if name == "test" else "predictions_far.npz"
    with np.load(config.output / "evaluation" / file) as kept:
        truth, told = kept["true_forces"], kept["student_uncertainty"]
        student = np.sqrt(np.mean((kept["student_forces"] - truth) ** 2))
        ensemble = np.sqrt(np.mean((kept["ensemble_forces"] - truth) ** 2))
        spread = np.std(kept["teacher_forces"], axis=0)
    assert found["error_over_spread"] == {
        "ensemble_spread": pytest.approx(ensemble / np.sqrt(np.mean(spread**2))),
        "student_uncertainty": pytest.approx(student / np.sqrt(np.mean(told**2))),
    }


def test_ratio_is_one_for_an_error_bar(test_dataset: Dataset) -> None:
    """Errors with the predicted spread: ratio 1; predictions of half the spread: ratio 2."""
    assert test_dataset.forces is not None
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.1, 2.0, test_dataset.n_atoms)
    forces = test_dataset.forces + sigma[:, None] * rng.normal(size=test_dataset.forces.shape)
    one = Predictions(test_dataset.energies, forces, 0.5 * sigma)
    model = replace(EnsemblePredictions.of([one]), forces_std=sigma)
    found = told_errors(test_dataset, model, model)
    error = np.sqrt(np.mean((forces - test_dataset.forces) ** 2))
    expected = error / np.sqrt(np.mean(sigma**2))
    assert expected == pytest.approx(1, abs=0.05)
    assert found["error_over_spread"] == {
        "ensemble_spread": pytest.approx(expected),
        "student_uncertainty": pytest.approx(2 * expected),
    }
    assert found["spearman"]["ensemble_spread"] == found["spearman"]["student_uncertainty"]


def test_single_teacher_tells_no_error(test_dataset: Dataset) -> None:
    """The file contains no spread and no infinity, and no results without reference forces."""
    assert test_dataset.forces is not None
    nothing = {"ensemble_spread": None, "student_uncertainty": None}
    one = EnsemblePredictions.of([Predictions(test_dataset.energies, test_dataset.forces + 0.1)])
    both = {"spearman": nothing, "error_over_spread": nothing}
    assert told_errors(test_dataset, one, one) == both
    several = replace(one, forces_std=one.forces_std + 0.1)
    assert told_errors(replace(test_dataset, forces=None), several, several) == both


def test_both_sets_are_shown(config: Config) -> None:
    """Results are in run_summary.json, in the terminal, in the report and in plots."""
    content = json.loads((config.output / "summary.json").read_text())
    assert content["far"]["student"] == metrics(config)["far"]["student"]
    for one in (content, content["far"]):
        over = one["student_over"]
        rmse = {who: one[who]["force_rmse"] for who in ("student", "mean_teacher", "ensemble")}
        assert over["mean_teacher"]["force_rmse"] == rmse["student"] / rmse["mean_teacher"]
        assert over["ensemble"]["force_rmse"] == rmse["student"] / rmse["ensemble"]
        relative = one["relative_energy_rmse"]
        assert relative["mean_teacher"] == pytest.approx(np.mean(relative["teachers"]))
    terminal = shown(content)
    html = (config.output / "report.html").read_text(encoding="utf-8")
    near, far = content["student"]["force_rmse"], content["far"]["student"]["force_rmse"]
    label = "force RMSE (meV/Å), student"
    assert " ".join(f"{label} │ {1e3 * near:.1f} │ {1e3 * far:.1f}".split()) in " ".join(
        terminal.split()
    )
    assert f"<td>{label}</td><td>{1e3 * near:.1f}</td><td>{1e3 * far:.1f}</td>" in html
    told = content["far"]["error_over_spread"]["student_uncertainty"]
    for text in (terminal, html):
        assert "ΔE RMSE" in text
        assert "student / ensemble" in text
        assert f"{told:.2f}" in text
    assert "the far set: 6 configurations, 42 atoms" in html
    assert "far.h5" in html
    plots = {path.stem for path in (config.output / "plots").glob("far_*.png")}
    wanted = {f"far_{name}" for name in ("accuracy", "energy_parity", "force_parity")}
    assert plots == wanted | {"far_force_spread"}
    assert html.count("data:image/png;base64,") == 9


def test_without_a_far_set(config: Config, tmp_path: Path) -> None:
    """All other results are equal; runs with and without a far set are distinguished."""
    without = config.model_copy(update={"far": None})
    with pytest.raises(EKDError, match=r"far\.energy = 'ccsd"):
        Pipeline(without, Existing.RESUME, progress=False).run(["evaluate"])
    Pipeline(without, Existing.RESUME, progress=False).run(
        ["distill"]
    )  # independent of the far set
    shutil.copytree(config.output, tmp_path / "run")
    without = without.model_copy(update={"output": tmp_path / "run"})
    pipeline = Pipeline(without, Existing.OVERWRITE, progress=False)
    pipeline.run(["evaluate"])
    assert metrics(without) == metrics(config) | {"far": None}
    assert not (tmp_path / "run/evaluation/predictions_far.npz").exists()
    result = pipeline.run(["report"])
    assert result is not None
    assert result["far"] is None
    assert "Near the training data" not in shown(result)
    assert "force error / student's uncertainty" in shown(result)
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Near" not in html
    assert html.count("data:image/png;base64,") == 5
    assert "<th>force error / spread</th>" in html


def test_far_sets_that_cannot_be_used(config: Config, tmp_path: Path) -> None:
    assert config.far is not None
    elsewhere = config.model_copy(update={"output": tmp_path / "run"})
    with h5py.File(tmp_path / "other.h5", "w") as file:
        group = file.create_group("H2S")
        group["atomic_numbers"] = np.array([16, 1, 1], dtype=np.uint8)
        group["coordinates"] = np.array([[[0, 0, 0], [1.3, 0, 0], [0, 1.3, 0]]], dtype=float)
        group[ENERGY] = np.array([-399.0])
        group[FORCES] = np.full((1, 3, 3), 0.01)

    def with_far(path: Path) -> Pipeline:
        far = config.far.model_copy(update={"path": path})
        return Pipeline(elsewhere.model_copy(update={"far": far}), progress=False)

    with pytest.raises(DataError, match=r"the far set has S, which the t.*EKD-DATA-062"):
        with_far(tmp_path / "other.h5").run()
    with pytest.raises(DataError, match=r"absent\.h5"):
        with_far(tmp_path / "absent.h5").run(["train"])
    assert not (tmp_path / "run").exists()


def test_another_far_set_is_another_setting(config: Config, test_file: Path) -> None:
    """The path of the file is not a setting, but its content is."""
    folder = config.output.parent
    shutil.copy(folder / "far.h5", folder / "moved.h5")
    select(test_file, folder / "other.h5", ["C2H4"], 2, 5)

    def settings(name: str) -> dict[str, Any]:
        assert config.far is not None
        far = config.far.model_copy(update={"path": folder / f"{name}.h5"})
        return Pipeline(config.model_copy(update={"far": far}), progress=False).settings("report")

    assert settings("moved") == settings("far")
    changed = settings("other").items() ^ settings("far").items()
    assert {key for key, _ in changed} == {"far.fingerprint"}
