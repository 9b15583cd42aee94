"""`ekd.evaluate` on small models: errors, caching, files and refusals."""

from __future__ import annotations

import csv
import json
import pickle
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import ekd
from ekd.data import Dataset
from ekd.distillation import ASETeacher
from ekd.errors import CheckpointError, ConfigError, ModelFileError, StructureError, TeacherError
from ekd.evaluation import CurveConfig, ModelConfig, SetConfig, compare, terminal_tables
from ekd.evaluation import stored_predictions as stored
from ekd.evaluation.comparison_plots import parity
from ekd.evaluation.evaluation_settings import load_evaluation_config
from ekd.evaluation.models import FileModel, TeacherModel
from ekd.evaluation.sources import open_data, open_models, parse_model
from ekd.units import HARTREE
from models import random_committee, random_model
from tolerances import tolerance
from untrained import ensemble, teacher

SPRINGS = ASETeacher("calculators:Springs", {"k": 2.0}, label="springs")


@pytest.fixture(scope="module")
def truth(test_dataset: Dataset) -> Dataset:
    """30 configurations, several of every molecule."""
    return test_dataset.subset(np.arange(0, 90, 3))


def evaluated(
    data: object, output: Path | None = None, **settings: object
) -> ekd.evaluation.Evaluation:
    models = {"committee": ensemble(3), "student": teacher(7), "springs": SPRINGS}
    return ekd.evaluate(models, data, output=output, progress=False, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def result(truth: Dataset) -> ekd.evaluation.Evaluation:
    return evaluated({"small": truth}, units="kcal/mol")


def test_errors_are_those_of_the_metrics(truth: Dataset, result: ekd.evaluation.Evaluation) -> None:
    members = ensemble(3)
    expected = compare(members.predict(truth), truth)
    (energy,) = result.select(model="committee", quantity="energy")
    (force,) = result.select(model="committee", quantity="force")
    assert energy.errors.rmse == pytest.approx(expected.energy_rmse)
    assert force.errors.mae == pytest.approx(expected.force_mae)
    each = [compare(member.predict(truth), truth) for member in members.members]
    (single,) = result.select(model="committee, one", quantity="force")
    assert single.errors.rmse == pytest.approx(np.mean([one.force_rmse for one in each]))
    # energies of a calculator are at another level of theory, so only conformers are compared
    assert not result.select(model="springs", quantity="energy")
    assert result.select(model="springs", quantity="relative_energy")
    assert any("springs: its total energies" in note for note in result.notes)
    by_element = result.select(model="student", quantity="force", kind="element")
    assert [row.slice_name for row in by_element] == ["H", "C", "N", "O"]
    total = sum(row.errors.rmse**2 * row.errors.n for row in by_element)
    (whole,) = result.select(model="student", quantity="force")
    assert total / whole.errors.n == pytest.approx(whole.errors.rmse**2)
    assert {row.quantity for row in result.calibrations} == {"force", "energy_per_atom"}


def test_files(truth: Dataset, tmp_path: Path, result: ekd.evaluation.Evaluation) -> None:
    ekd.write_evaluation(result, tmp_path / "out", vector_plots=True)
    names = {path.name for path in (tmp_path / "out/plots").glob("*.pdf")}
    ekd.write_evaluation(result, tmp_path / "out")
    images = {path.name for path in (tmp_path / "out/plots").iterdir()}
    assert {name.replace("pdf", "png") for name in names} == images
    report = (tmp_path / "out" / "report.html").read_text()
    assert 'src="http' not in report
    assert report.count("data:image/png;base64,") == len(list((tmp_path / "out/plots").iterdir()))
    for words in ("committee, one", "springs", "Retention gain", truth.provenance.level_of_theory):
        assert words in report
    best = min(result.select(quantity="force"), key=lambda row: row.errors.rmse).model
    assert f'<div class="note">{best} (smallest); next: ' in report
    assert report.count('<table class="sortable">') >= 3
    assert "aria-sort" in report
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [model["name"] for model in summary["models"]] == ["committee", "student", "springs"]
    with (tmp_path / "out" / "tables" / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.rows)
    (row,) = [
        r for r in rows if (r["slice"], r["model"], r["quantity"]) == ("all", "student", "force")
    ]
    (expected,) = result.select(model="student", quantity="force")
    assert float(row["rmse"]) == expected.errors.rmse
    assert row["unit"] == "eV/Å"
    latex = (tmp_path / "out" / "tables" / "errors.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert r"kcal/mol/\AA{}" in latex
    for table in terminal_tables(result):
        assert table.row_count


def test_energies_alone(small_dataset: Dataset, tmp_path: Path) -> None:
    result = ekd.evaluate(
        {"committee": ensemble(2)}, small_dataset, output=tmp_path, progress=False
    )
    assert {row.quantity for row in result.rows} == {"energy", "energy_per_atom", "relative_energy"}
    assert {row.quantity for row in result.calibrations} == {"energy_per_atom"}
    assert any("No true forces" in note for note in result.notes)
    assert (tmp_path / "report.html").exists()


def test_levels_of_theory_are_never_joined(truth: Dataset) -> None:
    def part(rows: list[int], level: str) -> Dataset:
        provenance = replace(truth.provenance, level_of_theory=level)
        return replace(truth.subset(rows), provenance=provenance)

    sets = {
        "a": part([0, 1, 2], "CC"),
        "b": part([3, 4], "CC"),
        "c": part([5, 6], "DFT"),
    }
    result = ekd.evaluate({"student": teacher(0)}, sets, progress=False)
    rows = {row.dataset: row for row in result.select(quantity="force")}
    assert set(rows) == {"a", "b", "c", "all sets, CC"}
    joined = rows["all sets, CC"]
    assert joined.level_of_theory == "CC"
    assert joined.n_configs == 5
    squares = sum(rows[name].errors.rmse ** 2 * rows[name].errors.n for name in "ab")
    assert joined.errors.rmse**2 * joined.errors.n == pytest.approx(squares)
    assert any("2 levels of theory" in note for note in result.notes)


def test_a_level_that_is_not_that_of_the_labels_is_said(truth: Dataset) -> None:
    student = teacher(0)
    student = replace(student, provenance={"data": {"level_of_theory": "DFT"}})
    result = ekd.evaluate({"student": student}, truth, progress=False)
    (note,) = result.notes
    assert "student was trained on 'DFT'; the labels of ccsdt_chno_test are 'CCSD(T)" in note
    assert {row.quantity for row in result.rows} == {"relative_energy", "force"}
    same = ekd.evaluate({"student": student}, truth, same_level=True, progress=False)
    assert not same.notes
    assert same.select(quantity="energy")


def test_exported_files_in_batches(truth: Dataset, tmp_path: Path) -> None:
    """Results of many molecules in one call equal single ones, for a student and a committee."""
    path = random_model(tmp_path / "student.pt")
    random_committee(tmp_path / "several.pt", n_members=2)
    for name, file in (("student", path), ("several", tmp_path / "several.pt")):
        found = FileModel(name, file).predict(truth)
        alone = ekd.ExportedModel(file)
        for index in (0, 13, 29):
            atoms = truth.atoms(index)
            expected = alone.evaluate(atoms.numbers, atoms.positions)
            rows = slice(truth.offsets[index], truth.offsets[index + 1])
            close = tolerance("runtime").bounds
            np.testing.assert_allclose(found.energies[index], expected.energy, **close)
            np.testing.assert_allclose(found.forces[rows], expected.forces, **close)
            if expected.forces_std is not None:
                assert found.forces_std is not None
                assert found.energies_std is not None
                np.testing.assert_allclose(found.forces_std[rows], expected.forces_std, **close)
                np.testing.assert_allclose(found.energies_std[index], expected.energy_std, **close)


def test_predictions_are_found_again(
    truth: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ekd.evaluation.evaluate_models.write_evaluation", lambda *_: None)
    first = evaluated(truth, tmp_path)
    files = sorted((tmp_path / "predictions").iterdir())
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:-50])  # only the damaged one is computed again
    done: list[object] = []
    run = stored.Evaluations.run
    monkeypatch.setattr(
        stored.Evaluations,
        "run",
        lambda self, task, report: (done.append(task), run(self, task, report)),
    )
    again = evaluated(truth, tmp_path)
    assert len(done) == 1
    assert [row.errors for row in again.rows] == [row.errors for row in first.rows]


def test_what_workers_are_sent_gives_the_same(truth: Dataset, tmp_path: Path) -> None:
    """Models and data are pickled for the processes that :mod:`ekd.workers` starts."""
    random_model(tmp_path / "file.pt")
    models = open_models([ensemble(2), SPRINGS, tmp_path / "file.pt"])
    here = stored.Evaluations(models, [truth], tmp_path / "here")
    there = pickle.loads(pickle.dumps(replace(here, folder=tmp_path / "there")))
    for task in here.tasks():
        here.run(task, lambda _: None)
        there.run(task, lambda _: None)
        found, expected = there.load(task), here.load(task)
        assert found is not None
        assert expected is not None
        np.testing.assert_array_equal(found["energies"], expected["energies"])
        np.testing.assert_array_equal(found["forces"], expected["forces"])


def test_scans(truth: Dataset, tmp_path: Path, test_file: Path) -> None:
    scan = CurveConfig(
        path=test_file, energy="ccsd(t)_ccpvdz.energy", coordinate="distance 0 1", n_configs=20
    )
    result = evaluated((), tmp_path, curves=scan)
    assert result.curves
    assert set(result.curves[0].models) == {"committee", "student", "springs"}
    assert "Scans" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "tables" / "curves.csv").exists()


def test_run_folders_files_and_calculators(tmp_path: Path) -> None:
    for k, member in enumerate(ensemble(2).members):
        member.save(tmp_path / f"run/teachers/member-{k}/checkpoint.pt")
    teacher(5).save(tmp_path / "run/student/checkpoint.pt")
    random_model(tmp_path / "student.pt")
    models = open_models(
        [
            tmp_path / "run",
            parse_model(f"file={tmp_path / 'student.pt'}"),
            parse_model("calculators:Springs(k=3.0)"),
            tmp_path / "run/teachers/member-1",
        ]
    )
    assert [model.name for model in models] == [
        "ensemble",
        "student",
        "file",
        "calculators:Springs k=3.0",
        "member-1",
    ]
    assert [model.n_members for model in models] == [2, 1, 1, 1, 1]
    assert [model.use_energies for model in models] == [True, True, True, False, True]
    several = open_models([tmp_path / "run", ModelConfig(path=tmp_path / "run", name="b")])
    assert [model.name for model in several] == [
        "run: ensemble",
        "run: student",
        "b: ensemble",
        "b: student",
    ]


def test_mixed_ensemble_from_a_file(tmp_path: Path, truth: Dataset, test_file: Path) -> None:
    teacher(5).save(tmp_path / "net.pt")
    (tmp_path / "evaluation.toml").write_text(
        f'[[models]]\npath = "net.pt"\nensemble = "mixed"\n'
        f'[[models]]\ncalculator = "calculators:Springs"\nensemble = "mixed"\n'
        f'[[sets]]\npath = "{test_file}"\nenergy = "ccsd(t)_ccpvdz.energy"\nn_configs = 10\n'
    )
    config = load_evaluation_config(tmp_path / "evaluation.toml")
    assert config.output == tmp_path / "evaluation"
    (mixed,) = open_models(config.models)
    (data,) = open_data(config.sets).values()
    assert len(data) == 10
    found = mixed.predict(data)
    np.testing.assert_allclose(found.energies, teacher(5).predict(data).energies)
    assert found.energies_std is None  # only one energy is used; the other has another level
    assert found.forces_std is not None


def test_parity_has_a_panel_for_each_model(result: ekd.evaluation.Evaluation) -> None:
    figure = parity(result, "small")
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == [
        "committee",
        "student",
        "springs",
    ]
    assert len(figure.axes) == 6


@pytest.mark.parametrize(
    ("models", "error", "words"),
    [
        (["absent"], ModelFileError, "model 'absent' not found; give the folder of a run"),
        (["folder"], CheckpointError, "no model in 'folder'"),
        ([3.0], ConfigError, "a float is not a model"),
        ([], ConfigError, "no model to evaluate"),
        ([SPRINGS, SPRINGS], ConfigError, "several models are called 'springs'"),
        (["calculators:Sprung"], TeacherError, "no class or function 'Sprung'"),
    ],
)
def test_what_is_no_model(
    models: list[object],
    error: type[Exception],
    words: str,
    truth: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    parsed = [parse_model(m) if isinstance(m, str) else m for m in models]
    with pytest.raises(error, match=words):
        ekd.evaluate(parsed, truth, progress=False)  # type: ignore[arg-type]


def test_unknown_element(truth: Dataset) -> None:
    with pytest.raises(StructureError, match="supports only H, O"):
        ekd.evaluate(teacher(0, elements=[1, 8]), truth, progress=False)


def test_nothing_to_measure_against(truth: Dataset) -> None:
    with pytest.raises(ConfigError, match="nothing to measure against"):
        ekd.evaluate(teacher(0), [], progress=False)
    with pytest.raises(ConfigError, match="units 'eV' are unknown"):
        ekd.evaluate(teacher(0), truth, units="eV", progress=False)
    with pytest.raises(ConfigError, match="several datasets are called"):
        open_data([truth, truth])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[[models]]\npath = 'a'\ncalculator = 'b:C'\n[[sets]]\npath = 'd'\n",
            "path and calculator",
        ),
        ("[[models]]\nname = 'a'\n[[sets]]\npath = 'd'\n", "found neither"),
        ("[[models]]\npath = 'a'\n", r"one \[\[sets\]\] or \[\[curves\]\]"),
        ("[[models]]\npath = 'a'\narguments = {a = 1}\n[[sets]]\npath = 'd'\n", "belong to a calc"),
        ("windows = [-1.0]\n[[models]]\npath = 'a'\n[[sets]]\npath = 'd'\n", "are positive"),
        ("[[models]]\npath = 'a'\n[[sets]]\nfile = 'd'\n", "unknown key 'sets.0.file'"),
    ],
)
def test_configuration_that_is_wrong(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_evaluation_config(tmp_path / "evaluation.toml")


def test_arguments_of_a_calculator_are_plain() -> None:
    assert parse_model("a:B(x=[1, 2], y='z')").arguments == {"x": [1, 2], "y": "z"}
    for text in ("a:B(1)", "a:B(x=open('f'))", "a:B(x=)"):
        with pytest.raises(ConfigError, match="write named plain values"):
            parse_model(text)


def test_committee_members_stand_for_themselves() -> None:
    assert TeacherModel("x", open_models(ensemble(2))[0].teachers).kind == "mean of 2"  # type: ignore[attr-defined]


def test_sets_take_names_and_levels(test_file: Path) -> None:
    entry = SetConfig(
        path=test_file, energy="ccsd(t)_ccpvdz.energy", name="mine", level_of_theory="CCSD(T)"
    )
    ((name, data),) = open_data(entry).items()
    assert name == "mine"
    assert data.provenance.level_of_theory == "CCSD(T)"


@pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")  # the numbers are made up
def test_comp6_files_are_read_as_they_are(tmp_path: Path, truth: Dataset) -> None:
    """Each file has a row, and all files together have another one; forces are gradients."""
    student = teacher(0)
    water = truth.atoms(int(np.flatnonzero(truth.groups == "H2O")[0]))
    moved = np.stack([water.positions * scale for scale in (1.0, 1.02, 1.3)])
    for k, name in enumerate(("s66x8", "drugbank")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            group = file.create_group("set/molecule0")
            group["species"] = np.array([symbol.encode() for symbol in water.symbols])
            group["coordinates"] = moved
            group["energies"] = np.array([-76.4, -76.39, -76.0]) + 0.001 * k  # 0.4 Ha: 251 kcal/mol
            group["forces"] = np.full(moved.shape, 0.01 * (k + 1))
    sets = [
        SetConfig(
            path=tmp_path / f"{name}.h5", forces="forces", gradients=True, level_of_theory="ωB97X"
        )
        for name in ("s66x8", "drugbank")
    ]
    result = ekd.evaluate({"student": student}, sets, progress=False)
    assert {row.dataset for row in result.rows} == {"s66x8", "drugbank", "all sets"}
    assert {row.level_of_theory for row in result.rows} == {"ωB97X"}
    (window,) = result.select("s66x8", quantity="force", kind="window")
    assert window.n_configs == 2
    (force,) = result.select("drugbank", quantity="force")
    data = open_data(sets)["drugbank"]
    assert data.forces is not None
    assert data.forces[0, 0] == pytest.approx(-0.02 * HARTREE)
    expected = student.predict(data).forces + 0.02 * HARTREE
    assert force.errors.rmse == pytest.approx(np.sqrt(np.mean(expected**2)))
    (joined,) = result.select("all sets", quantity="relative_energy")
    assert joined.errors.n == 6  # three pairs in each file, none across files


def test_files_in_the_docs_are_valid(tmp_path: Path) -> None:
    from ekd.config import validate_config
    from ekd.dynamics.stability_settings import load_stability_config

    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    far, evaluation, stability = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert validate_config({"data": {"path": "data.h5"}} | tomllib.loads(far), tmp_path).far
    (tmp_path / "evaluation.toml").write_text(evaluation)
    (tmp_path / "stability.toml").write_text(stability)
    config = load_evaluation_config(tmp_path / "evaluation.toml")
    assert [curve.zero for curve in config.curves] == ["minimum", "end"]
    assert load_stability_config(tmp_path / "stability.toml").drift.bath_timestep == 0.00025
