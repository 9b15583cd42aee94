"""The runner of examples/studies, at sizes too small for meaningful results."""

from __future__ import annotations

import csv
import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

import ekd
from ekd.data import Dataset

# The numbers of small files are made up.
pytestmark = pytest.mark.filterwarnings("ignore::ekd.errors.DataWarning")

FOLDER = Path(__file__).parents[2] / "examples" / "studies"
MODULES = ("liquid", "piece_settings", "pieces", "run", "study", "survival", "tables")

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

PRETRAINED = f"""
title = "A question"
sets = ["ccsdt_pretrained"]
seeds = [0]

[set]
"data.path" = "small.xyz"
"data.energy" = "energy"
"test.path" = "small.xyz"
"test.energy" = "energy"
"test.forces" = "forces"
"far.path" = "far.xyz"
"far.energy" = "energy"
"far.forces" = "forces"
"model.n_features" = 2
"model.n_sensitivities" = 4
"pool.calculator.calculator" = "pool_calculators:PairSprings"
"pool.calculator.folder" = "{Path(__file__).parents[1]}"
"pool.molecules" = ["H2O", "NH3", "CH3OH"]
"pool.structures" = ["far.xyz"]
"pool.n_rattled" = 1
"pool.n_stretched" = 1
"pool.n_joined" = 2
"pool.n_clusters" = 4
"pool.temperatures" = [300.0]
"pool.n_snapshots" = 2
"pool.interval" = 0.002
"pretraining.training.epochs" = 1
"pretraining.validation_fraction" = 0.2
"pretraining.n_bases" = 2
"pretraining.data" = {{path = "small.xyz", energy = "energy", forces = "forces"}}
"pretraining.second_step.epochs" = 1
"labels.structures" = ["small.xyz"]
"teachers.n_members" = 2
"teachers.training.epochs" = 1
"student.training.epochs" = 2
"student.uncertainty.n_steps" = 10
"student.on_policy.n_trajectories" = 4
"student.on_policy.n_snapshots" = 2
"student.on_policy.interval" = 0.002
"student.on_policy.epochs" = 1
"student.on_policy.max_spread" = 100.0

[[variants]]
name = "student"

[[variants]]
name = "without labels"
set = {{"labels.pool" = false, "labels.structures" = []}}

[[variants]]
name = "random weights"
set = {{"student.from_base" = false}}

[[variants]]
name = "one base"
set = {{"pretraining.n_bases" = 1}}

[[variants]]
name = "energies"
learn = "energies"
training = "teachers"

[[variants]]
name = "round"
set = {{"student.on_policy.n_rounds" = 1}}

[[variants]]
name = "without pretraining"
without = ["pretraining", "pool", "labels.structures"]

[survival.ccsdt_pretrained]
variants = ["student"]
teachers_of = "without pretraining"
molecules = ["H2O"]
settings = {{temperatures = [300.0], n_seeds = 1, duration = 0.005}}

[liquid.ccsdt_pretrained]
variants = ["student"]
teachers_of = "without pretraining"
n_teachers = 1
n_boxes = 1
duration = 0.005
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], int]]:
    """``main`` of the script; its modules are removed afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    # Other tests use modules with the same names, such as benchmarks/run.py.
    others = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    yield importlib.import_module("run").main
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(others)


@pytest.fixture
def data(tmp_path: Path, test_dataset: Dataset) -> Path:
    """A folder with a few configurations with true forces, and a few with energies only."""
    assert test_dataset.forces is not None
    frames = []
    for k in range(0, len(test_dataset), 4):
        rows = slice(test_dataset.offsets[k], test_dataset.offsets[k + 1])
        frames.append(test_dataset.atoms(k))
        frames[-1].calc = SinglePointCalculator(
            frames[-1], energy=test_dataset.energies[k], forces=test_dataset.forces[rows]
        )
    ase.io.write(tmp_path / "small.xyz", frames)
    ase.io.write(tmp_path / "far.xyz", frames[:3])
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


@pytest.mark.slow
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
    assert pieces == {path: path.stat().st_mtime_ns for path in pieces}  # not trained again
    survival = (results / "survival.md").read_text()
    assert "| ccsdt | 0 | H2O | 300 | next |" in survival
    assert "| ccsdt | 1 | H2O | 300 | student |" in survival
    assert "| ccsdt | 1 | H2O | 300 | next |" not in survival  # it exists only for seed 0


@pytest.mark.slow
def test_pretraining(main: Callable[[list[str]], int], data: Path) -> None:
    assert main(options(data, PRETRAINED)) == 0
    found = rows(data)
    assert [(row["variant"], row["model"]) for row in found] == [
        ("teachers", "single teacher"),
        ("teachers", "ensemble"),
        ("student", "student"),
        ("without labels", "student"),
        ("random weights", "student"),
        ("teachers, one base", "single teacher"),
        ("teachers, one base", "ensemble"),
        ("one base", "student"),
        ("energies", "student"),
        ("round", "student"),
        ("teachers, without pretraining", "single teacher"),
        ("teachers, without pretraining", "ensemble"),
        ("without pretraining", "student"),
    ]
    students = [row["far_force_rmse"] for row in found if row["model"] == "student"]
    assert len(set(students)) == 7  # all are different models
    assert all(float(row["far_relative_energy_rmse"]) >= 0 for row in found)
    told = {row["variant"]: row["far_uncertainty_scale"] for row in found}
    assert float(told["student"]) > 0
    assert not told["energies"]

    work = data / "work"
    assert len(list(work.glob("pool-*"))) == 1
    (bases,) = work.glob("bases-*")  # variants with one base use the first of two
    assert {path.name for path in bases.iterdir() if path.is_dir()} == {
        *("member-0", "member-1", "pool"),
    }
    results = data / "results" / "trial"
    table = (results / "results.md").read_text()
    assert "| near | seeds | forces (meV/Å) | × teacher | × ensemble |" in table
    assert "| far | seeds | forces (meV/Å) | × teacher | × ensemble |" in table
    lines = [line.split(" | ") for line in table.splitlines()]
    ensemble = next(line for line in lines if line[0] == "| ensemble, without pretraining")
    assert ensemble[9] == "1.000×"  # relative to its own teachers
    for name in ("survival", "liquid"):
        assert "| single teacher |" in (results / f"{name}.md").read_text()

    made = (*work.rglob("checkpoint.pt"), *work.rglob("*.h5"), *work.rglob("measured*"))
    pieces = {path: path.stat().st_mtime_ns for path in made}
    assert main(options(data, PRETRAINED, "--only", "student", "round")) == 0
    assert rows(data) == [
        row for row in found if row["variant"] in ("teachers", "student", "round")
    ]
    assert pieces == {path: path.stat().st_mtime_ns for path in pieces}  # nothing was made again


@pytest.mark.slow
def test_models_start_from_bases(main: Callable[[list[str]], int], data: Path) -> None:
    """Teachers start from bases in turn, and the student from the first base or random weights."""
    pieces = importlib.import_module("pieces")
    module = importlib.import_module("study")
    question = module.load_study(study(data, PRETRAINED))
    shop = pieces.Workshop(question, data / "work", data, 1, progress=False)

    def experiment(name: str, seed: int = 0) -> Any:
        return shop.experiment(question.variant(name), "ccsdt_pretrained", seed)

    first = experiment("student")
    pool = first.pool.data
    starts = [model.provenance["start"] for model in first.bases.members]
    learned = ekd.load_ensemble(
        first.settings.folder_of("bases", first.settings.bases) / "pool"
    ).members
    assert learned[0].provenance["data"]["fingerprint"] == pool.fingerprint
    assert starts == [model.sha256 for model in learned]
    better = ekd.load_dataset(data / "small.xyz", energy="energy", forces="forces")
    assert first.bases.members[0].provenance["data"]["fingerprint"] == better.fingerprint
    starts = [model.provenance["start"] for model in first.teachers.members]
    assert starts == [model.sha256 for model in first.bases.members]
    assert first.students.members[0].provenance["start"] == starts[0]
    assert "start" not in experiment("random weights").students.members[0].provenance
    assert len(first.labels.extra) == len(better) + (pool.groups != "data").sum()
    assert experiment("without labels").labels.extra is None

    plain = experiment("without pretraining")
    assert plain.pool is None
    assert plain.bases is None
    # The pool depends on the seed.
    assert experiment("student", 1).settings.pool != first.settings.pool


def test_defaults_of_fine_tuning(main: Callable[[list[str]], int]) -> None:
    """Defaults of sets depend on whether there is a base, also with a multiple of its epochs."""
    module = importlib.import_module("study")
    text = """
title = "A question"
sets = ["ethanol_pretrained"]
variants = [
  {name = "fine"},
  {name = "longer", epochs_factor = 2.0},
  {name = "usual", without = ["pretraining", "pool"]},
]
"""
    question = module.Study(**tomllib.loads(text))
    module.find = lambda name, folder: FOLDER / name
    epochs = {}
    for variant in question.variants:
        _, config = module.resolve(question, variant, "ethanol_pretrained", 0, None)
        epochs[variant.name] = config.teachers.training.epochs, config.student.training.epochs
    assert epochs == {"fine": (60, 60), "longer": (60, 120), "usual": (100, 200)}


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
            TINY + '[[variants]]\nname = "a"\nwithout = ["pool"]',
            (),
            "variant 'a' of ccsdt: without = ['pool'], which the data set does not have",
        ),
        (
            TINY + '[[variants]]\nname = "a"\n[liquid.ccsdt]\nvariants = ["a"]\nteachers_of = "b"',
            (),
            "there is no variant 'b' in this study; it has 'a'",
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
