"""Every error of the configuration, of arguments, and of runs and their folders."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import ekd
import trainings
from ekd.config import MemberConfig, PoolConfig, TrainingConfig, WallConfig, load_config
from ekd.distillation import labelling
from ekd.evaluation.curves import coordinates
from ekd.files import atomic_write, remove
from ekd.pipeline.content import content_sha256
from ekd.pipeline.record import Existing, Record
from ekd.pipeline.runner import Pipeline
from ekd.training.parallel import Group
from error_triggers import expect, frames, refused, waters
from models import random_model
from untrained import ensemble, teacher

Write = Callable[..., Path]


class Two(Group):
    """Process group as if torchrun had started two processes."""

    n_ranks = 2


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(text, training=...)``: a configuration for water data, with given sections."""

    def written(text: str = "") -> Path:
        if not (tmp_path / "waters.xyz").exists():
            waters(tmp_path)
        path = tmp_path / "config.toml"
        path.write_text(f'[data]\npath = "waters.xyz"\n{text}')
        return path

    return written


# ---- configuration ----------------------------------------------------------------------------


def test_file_of_the_configuration(tmp_path: Path, write: Write) -> None:
    refused("EKD-CONFIG-001", "run", tmp_path / "absent.toml")
    with expect("EKD-CONFIG-002"):
        load_config(tmp_path)
    (tmp_path / "x.toml").write_text("n = True")
    refused("EKD-CONFIG-003", "run", tmp_path / "x.toml")
    refused("EKD-CONFIG-004", "run", write("[model]\nn_featurs = 3\n"))
    with expect("EKD-CONFIG-004"):
        TrainingConfig(epochs=-1)
    refused("EKD-CONFIG-025", "train", write("[teachers]\nn_members = 2\n"), "--member", 5)
    refused("EKD-CONFIG-026", "pool", write())


def test_what_is_missing_on_the_command_line(tmp_path: Path, write: Write) -> None:
    student = random_model(tmp_path / "student.pt")
    refused("EKD-CONFIG-006", "evaluate", write().with_name("waters.xyz"))
    refused("EKD-CONFIG-007", "evaluate", student)
    refused("EKD-CONFIG-008", "upgrade", student, student, "--output", tmp_path / "x.pt")
    refused("EKD-CONFIG-009", "stability", student)
    with expect("EKD-CONFIG-033"):
        ekd.prepare_dataset([], tmp_path / "x.h5")
    refused("EKD-CONFIG-027", "prepare", tmp_path / "waters.xyz", "-o", tmp_path / "x.npz")
    prepared = tmp_path / "x.h5"
    ekd.prepare_dataset(tmp_path / "waters.xyz", prepared, progress=False)
    refused("EKD-CONFIG-034", "prepare", prepared, "-o", prepared)
    keys = [word for key in "abc" for word in ("--energy", key)]
    refused("EKD-CONFIG-035", "prepare", prepared, prepared, *keys, "-o", tmp_path / "y.h5")


def test_arguments(tmp_path: Path) -> None:
    data = waters(tmp_path)
    atoms = data.atoms(0)
    calculator = ekd.EKDCalculator(random_model(tmp_path / "student.pt"))
    with expect("EKD-CONFIG-005"):
        calculator.set(colour="red")
    with expect("EKD-CONFIG-011"):
        ekd.train_ensemble(data, n_members=0, progress=False)
    with expect("EKD-CONFIG-011"):
        ekd.ExportedModel(tmp_path / "student.pt", block=-1)
    with expect("EKD-CONFIG-012"):
        ekd.label(ensemble(2), None, progress=False)
    with expect("EKD-CONFIG-013"):
        labelling.label(
            [teacher(0), ekd.ASETeacher("calculators:Springs")],
            data,
            extra=ekd.perturb(data, 0.1),
            wall=WallConfig(strength=1.0),
            n_workers=1,
            progress=False,
        )
    with expect("EKD-CONFIG-019"):
        ekd.evaluate(teacher(0), data, units="eV", progress=False)
    atoms.calc = calculator
    with expect("EKD-CONFIG-019"):
        calculator.store_error_estimates(atoms, per_atom="calc")


def test_models(tmp_path: Path) -> None:
    data = waters(tmp_path)
    with expect("EKD-CONFIG-010"):
        ekd.evaluate([teacher(0), teacher(1)], data, progress=False)
    with expect("EKD-CONFIG-016"):
        ekd.as_calculator([teacher(0), ekd.ASETeacher("calculators:Springs")])
    with expect("EKD-CONFIG-020"):
        ekd.evaluate([3], data, progress=False)
    refused("EKD-CONFIG-021", "evaluate", "a:B(x=open('f'))", tmp_path / "waters.xyz")
    student = random_model(tmp_path / "student.pt")
    (tmp_path / "evaluation.toml").write_text(
        f'[[models]]\nname = "a"\npath = "{student}"\nensemble = "both"\n'
        f'[[models]]\nname = "b"\npath = "{student}"\nensemble = "both"\n'
        '[[sets]]\npath = "waters.xyz"\n'
    )
    refused("EKD-CONFIG-022", "evaluate", tmp_path / "evaluation.toml")
    with expect("EKD-CONFIG-023"):
        ekd.Ensemble([]).export(tmp_path / "x.pt")
    with expect("EKD-CONFIG-024"):
        ekd.Ensemble([teacher(0), teacher(1, cutoff=4.5)]).export(tmp_path / "x.pt")


def test_scans(tmp_path: Path) -> None:
    data = waters(tmp_path)
    for code, text in (("EKD-CONFIG-017", "wave length"), ("EKD-CONFIG-018", "distance 0 4")):
        with expect(code):
            coordinates(data, ekd.CurveConfig(path=tmp_path / "waters.xyz", coordinate=text))


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        ("EKD-CONFIG-029", {"molecules": ["water!"]}),
        ("EKD-CONFIG-030", {"molecules": ["OH"]}),
        ("EKD-STRUCTURE-017", {"molecules": ["CH3SH"]}),
        ("EKD-TEACHER-011", {"calculator": {"calculator": "pool_calculators:Broken"}}),
        ("EKD-DATA-063", {"max_force": 1e-9}),
    ],
)
def test_pools(tmp_path: Path, code: str, settings: dict[str, Any]) -> None:
    small = {
        "calculator": {"calculator": "pool_calculators:PairSprings"},
        "molecules": ["H2O"],
        "n_from_data": 1,
        "n_rattled": 0,
        "n_stretched": 0,
        "n_clusters": 0,
        "temperatures": [],
        "n_workers": 1,
    }
    data = waters(tmp_path)
    with expect(code):
        config = PoolConfig(**(small | settings))
        ekd.build_pool(data, config, path=tmp_path / "pool.h5", progress=False)


def test_pools_of_nothing(tmp_path: Path) -> None:
    springs = {"calculator": {"calculator": "pool_calculators:PairSprings"}, "n_workers": 1}
    for code, molecules in (("EKD-CONFIG-028", None), ("EKD-CONFIG-032", [])):
        with expect(code):
            config = PoolConfig(**springs, molecules=molecules)
            ekd.build_pool(None, config, path=tmp_path / "pool.h5", progress=False)
    path = frames(tmp_path / "copper.xyz", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]))
    with expect("EKD-CONFIG-031"):
        ekd.build_pool(
            ekd.load_dataset(path), PoolConfig(**springs), path=tmp_path / "p.h5", progress=False
        )


# ---- training ---------------------------------------------------------------------------------


def test_least_squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = waters(tmp_path, 8)
    settings = TrainingConfig(epochs=1, optimizer="levenberg-marquardt", dtype="float64")
    with expect("EKD-CONFIG-036"):
        trainings.run(data, training=settings, labels=np.zeros_like(data.positions))
    with monkeypatch.context() as patch, expect("EKD-CONFIG-037"):
        patch.setattr("ekd.training.loop._MOST_CONFIGS", 2)
        trainings.run(data, training=settings)

    with expect("EKD-CONFIG-038"):
        trainings.run(data, training=settings, group=Two())


def test_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = waters(tmp_path, 8)
    with expect("EKD-CONFIG-019"):
        ekd.train_ensemble(data, n_members=2, splits="halves", progress=False)
    with expect("EKD-CONFIG-039"):
        ekd.train_ensemble(data, n_members=2, overrides=[MemberConfig()] * 3, progress=False)
    with expect("EKD-CONFIG-040"):
        other = trainings.MODEL.model_copy(update={"n_features": 7})
        trainings.run(data, start=teacher(0), model=other)
    with expect("EKD-DATA-061"):
        trainings.run(data, start=teacher(0, elements=[1, 6]))
    with expect("EKD-DATA-060"):
        ekd.pretrain(data, trainings.MODEL, progress=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with expect("EKD-CONFIG-041"):
        trainings.run(data, directory=tmp_path / "t", tensorboard=True)


# ---- runs -------------------------------------------------------------------------------------


def test_runs(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write("[teachers]\nn_members = 2\n")
    refused("EKD-RUN-007", "distill", config)
    folder = tmp_path / "run"
    (folder / "teachers" / "member-0").mkdir(parents=True)
    refused("EKD-RUN-001", "train", config)
    small = "[model]\nn_features = 4\nn_sensitivities = 4\n[teachers.training]\nepochs = 1\n"
    write("[teachers]\nn_members = 2\n" + small)
    one = Pipeline(load_config(config), Existing.OVERWRITE, progress=False)
    one.run_part("train", 0)
    refused("EKD-RUN-004", "label", config)
    pipeline = Pipeline(load_config(config), Existing.REFUSE, progress=False, group=Two())
    with expect("EKD-RUN-005"):
        pipeline.run(["label"])
    with Record.load(folder / "stages.json").timed("train", {"seed": 7}):
        pass
    refused("EKD-RUN-006", "train", config, "--resume")
    (folder / "stages.json").write_text("{")
    refused("EKD-RUN-003", "train", config, "--resume")
    (tmp_path / "file").write_text("")
    refused("EKD-RUN-001", "quickstart", "--output", tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr("ekd.cli.quickstart.resources.files", lambda name: tmp_path)
        refused("EKD-BUILD-020", "quickstart", "--output", tmp_path / "demo")


def test_results_that_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with expect("EKD-RUN-013"):
        content_sha256(tmp_path / "metrics.json")


def test_files_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def protected(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("ekd.files.shutil.rmtree", protected)
    with expect("EKD-RUN-011"):
        remove(tmp_path)


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with expect("EKD-RUN-002"), atomic_write(tmp_path / "file" / "student.pt"):
        pass


def test_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = waters(tmp_path, 4)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    with monkeypatch.context() as patch, expect("EKD-RUN-008"):
        patch.setattr(sys, "executable", str(python))  # the processes end immediately
        springs = ekd.ASETeacher("calculators:Springs")
        ekd.label(springs, data, chunk_size=2, n_workers=2, progress=False)
    with monkeypatch.context() as patch, expect("EKD-RUN-009"):
        # As if the file had been removed before it was read.
        patch.setattr("ekd.evaluation.stored_predictions.Evaluations.load", lambda self, task: None)
        ekd.evaluate(teacher(0), data, n_workers=1, progress=False)
