"""The runner of examples/studies, at sizes too small to mean anything."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import ase.io
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ekd.data import Dataset

FOLDER = Path(__file__).parents[2] / "examples" / "studies"
MODULES = ("pieces", "run", "study", "survival", "tables")

TINY = """
title = "A question"
sets = ["ccsdt"]
seeds = [0, 1]

[set]
"data.path" = "small.xyz"
"data.energy" = "energy"
"test.path" = "small.xyz"
"test.energy" = "energy"
"test.forces" = "forces"
"model.n_features" = 2
"model.n_sensitivities" = 4
"teachers.n_members" = 2
"teachers.training.epochs" = 1
"student.model.n_features" = 2
"student.model.n_sensitivities" = 4
"student.training.epochs" = 5
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], int]]:
    """``main`` of the script, whose modules are gone again afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    # Other tests have modules of these names: benchmarks/run.py is one.
    others = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    yield importlib.import_module("run").main
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(others)


@pytest.fixture
def data(tmp_path: Path, test_dataset: Dataset) -> Path:
    """A folder with a few configurations: with true forces, and with energies alone."""
    assert test_dataset.forces is not None
    frames = []
    for k in range(0, len(test_dataset), 4):
        rows = slice(test_dataset.offsets[k], test_dataset.offsets[k + 1])
        frames.append(test_dataset.atoms(k))
        frames[-1].calc = SinglePointCalculator(
            frames[-1], energy=test_dataset.energies[k], forces=test_dataset.forces[rows]
        )
    ase.io.write(tmp_path / "small.xyz", frames)
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=frame.get_potential_energy())
    ase.io.write(tmp_path / "energies.xyz", frames)
    return tmp_path


def study(folder: Path, text: str) -> Path:
    path = folder / "trial.toml"
    path.write_text(text)
    return path


def options(folder: Path, text: str, *more: str) -> list[str]:
    places = ["--work", str(folder / "work"), "--results", str(folder / "results")]
    return [str(study(folder, text)), "--data", str(folder), "--workers", "1", *places, *more]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results" / "trial" / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_study(main: Callable[[list[str]], int], data: Path) -> None:
    text = f"""{TINY}
[[variants]]
name = "student"

[[variants]]
name = "two"
set = {{"student.n_members" = 2, "labels.perturbed.n_copies" = 1}}

[[variants]]
name = "next"
generation_of = "two"
seeds = [0]

[[variants]]
name = "energies"
learn = "energies"
seeds = [0]

[[variants]]
name = "as teachers"
learn = "energies"
training = "teachers"
set = {{"teachers.training.learning_rate" = 2e-3}}
seeds = [0]

[[variants]]
name = "truth"
learn = "forces"
n_teachers = 1
seeds = [0]

[survival.ccsdt]
variants = ["student", "next"]
molecules = ["H2O"]
settings = {{temperatures = [300.0], n_seeds = 1, duration = 0.01}}

[liquid.ccsdt]
variants = ["student"]
n_teachers = 1
n_molecules = 64
n_boxes = 1
duration = 0.01
"""
    assert main(options(data, text, "--seeds", "0")) == 0
    found = rows(data)
    assert [(row["variant"], row["model"]) for row in found] == [
        ("teachers", "single teacher"),
        ("teachers", "ensemble"),
        ("student", "student"),
        ("two", "single student"),
        ("two", "committee"),
        ("next", "student"),
        ("energies", "student"),
        ("as teachers", "student"),
        ("truth", "student"),
    ]
    assert len({row["test_force_rmse"] for row in found}) == len(found)  # all are different models
    assert all(float(row["validation_force_rmse"]) > 0 for row in found)
    assert [row["model"] for row in found if row["test_spread_spearman"]] == [
        "ensemble",
        "committee",
    ]
    results = data / "results" / "trial"
    table = (results / "results.md").read_text()
    assert "| two, committee | 1 |" in table
    assert "Of the gap between *energies* and *truth*, *student* closes" in table
    assert (results / "results.png").stat().st_size > 10_000
    survival = (results / "survival.md").read_text()
    assert "| ccsdt | 0 | H2O | 300 | student | 1 | " in survival
    liquid = (results / "liquid.md").read_text()
    assert "| ccsdt | 0 | single teacher | 1 |" in liquid
    assert "| ccsdt | 0 | student | 1 |" in liquid

    pieces = {path: path.stat().st_mtime_ns for path in (data / "work").rglob("checkpoint.pt")}
    assert main(options(data, text, "--only", "student")) == 0
    assert [row["seed"] for row in rows(data)] == ["0"] * 3 + ["1"] * 3
    assert rows(data)[:3] == found[:3]
    assert pieces == {path: path.stat().st_mtime_ns for path in pieces}  # none was trained again
    survival = (results / "survival.md").read_text()
    assert "| ccsdt | 0 | H2O | 300 | next |" in survival
    assert "| ccsdt | 1 | H2O | 300 | student |" in survival
    assert "| ccsdt | 1 | H2O | 300 | next |" not in survival  # it is of seed 0 alone


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (TINY + '[[variants]]\nnam = "a"', (), "unknown key 'variants.0.nam'"),
        (TINY + '[[variants]]\nname = "a"\n' * 2, (), "two variants are called 'a'"),
        (
            TINY + '[[variants]]\nname = "a"\ngeneration_of = "b"',
            (),
            "there is no variant 'b' in this study; it has 'a'",
        ),
        (
            TINY + '[[variants]]\nname = "a"\ntraining = "teachers"',
            (),
            "learn from energies alone, but has learn = 'labels'",
        ),
        (TINY + '[[variants]]\nname = "a"', ("--only", "c"), "there is no variant 'c'"),
        (TINY + '[[variants]]\nname = "a"', ("--seeds", "7"), "seed 7 is not one of the study"),
        (TINY + '[[variants]]\nname = "a"', ("--sets", "qm9"), "data set qm9 is not one of the"),
        (
            TINY.replace('"ccsdt"', '"qm9"') + '[[variants]]\nname = "a"',
            (),
            "there is no data set 'qm9' in sets/; known are",
        ),
        (
            TINY + '[[variants]]\nname = "a"\nset = {"student.width" = 3}',
            (),
            "variant 'a' of ccsdt: unknown key 'student.width'",
        ),
        (
            TINY.replace("small.xyz", "lost.xyz") + '[[variants]]\nname = "a"',
            (),
            "get it as examples/studies/README.md says",
        ),
        (
            TINY.replace('"data.path" = "small.xyz"', '"data.path" = "energies.xyz"')
            + '[[variants]]\nname = "a"\nlearn = "forces"',
            (),
            "has no forces to train on; leave out the variant",
        ),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_errors(
    main: Callable[[list[str]], int],
    tmp_path: Path,
    data: Path,
    text: str,
    more: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(options(tmp_path, text, *more)) == 1
    assert message in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_committed_studies(
    main: Callable[[list[str]], int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every variant is a configuration that ekd accepts."""
    module = importlib.import_module("study")
    monkeypatch.setattr(module, "find", lambda name, folder: FOLDER / name)
    found = module.load_study(path)
    for variant in found.variants:
        for name in variant.sets or found.sets:
            module.resolve(found, variant, name, 0, None)
