"""Ensembles in worker processes: same result as serial, and a clear error if one is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ekd import workers
from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, split
from ekd.errors import CheckpointError, ConfigError, StructureError, TrainingError
from ekd.training import Ensemble, TrainedModel, ensemble, load_ensemble, train, train_ensemble

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
TRAINING = TrainingConfig(epochs=3, batch_size=8)
LONG = TrainingConfig(epochs=100_000, batch_size=8)


def run(data: Dataset, directory: Path | None, **changes: Any) -> Ensemble:
    settings = {"model": MODEL, "training": TRAINING, "n_members": 2, "progress": False}
    return train_ensemble(data, directory=directory, **(settings | changes))


@pytest.fixture(scope="module")
def trained(
    small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ensemble, Path]:
    """Three members from two processes, with seeds 5, 6, 7."""
    directory = tmp_path_factory.mktemp("teachers")
    return run(small_dataset, directory, n_members=3, n_workers=2, seed=5), directory


def test_members_equal_training_one_by_one(
    small_dataset: Dataset, trained: tuple[Ensemble, Path]
) -> None:
    train_indices, validation_indices = split(small_dataset, 0.1)
    for seed, member in zip((5, 6, 7), trained[0].members, strict=True):
        alone = train(
            small_dataset,
            model=MODEL,
            training=TRAINING,
            train_indices=train_indices,
            validation_indices=validation_indices,
            reference_energies=fit_reference_energies(small_dataset.subset(train_indices)),
            seed=seed,
        )
        assert member.provenance == alone.provenance
        assert member.sha256 == alone.sha256


def test_folder_of_an_ensemble(trained: tuple[Ensemble, Path]) -> None:
    members, directory = trained
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert found == {
        f"member-{k}/{name}" for k in range(3) for name in ("checkpoint.pt", "history.csv")
    }
    loaded = load_ensemble(directory)
    assert [m.sha256 for m in loaded.members] == [m.sha256 for m in members.members]


def test_finished_members_are_not_trained_again(
    small_dataset: Dataset, trained: tuple[Ensemble, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "_run_workers", None)  # calling it would fail
    again = run(small_dataset, trained[1], n_members=3, seed=5, resume=True)
    assert [m.sha256 for m in again.members] == [m.sha256 for m in trained[0].members]
    with pytest.raises(CheckpointError, match=r"provenance\.seed: 5 in the checkpoint, 6 now"):
        run(small_dataset, trained[1], n_members=3, seed=6, resume=True)


def test_mean_and_spread(small_dataset: Dataset, trained: tuple[Ensemble, Path]) -> None:
    predicted = trained[0].predict(small_dataset)
    members = [member.predict(small_dataset) for member in trained[0].members]
    forces = np.stack([member.forces for member in members])
    energies = np.stack([member.energies for member in members])
    np.testing.assert_allclose(predicted.forces, forces.mean(0), rtol=1e-12)
    np.testing.assert_allclose(predicted.energies, energies.mean(0), rtol=1e-12)
    np.testing.assert_allclose(predicted.energies_std, energies.std(0), rtol=1e-9)
    by_hand = np.sqrt(np.mean(np.sum((forces - forces.mean(0)) ** 2, axis=-1) / 3, axis=0))
    np.testing.assert_allclose(predicted.forces_std, by_hand, rtol=1e-9)
    assert len(predicted.members) == len(trained[0]) == 3


def test_without_a_directory(small_dataset: Dataset) -> None:
    members = run(small_dataset, None, n_members=1)
    assert np.isfinite(members.predict(small_dataset).forces).all()


def test_killed_worker(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of the second member is killed: one clear error, and no orphaned processes."""
    started: list[subprocess.Popen[str]] = []
    begin = workers._Process.begin

    def begin_and_kill(process: workers._Process, task: dict[str, Any]) -> None:
        begin(process, task)
        started.append(process._process)
        if task["member"] == 1:
            process._process.kill()

    monkeypatch.setattr(workers._Process, "begin", begin_and_kill)
    message = r"teacher 1 was lost: .* killed by signal 9, SIGKILL .*train again with resume=True"
    with pytest.raises(TrainingError, match=message):
        run(small_dataset, tmp_path, training=LONG, n_workers=2)
    assert [process.poll() is not None for process in started] == [True, True]


def test_worker_that_cannot_start(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(TrainingError, match="ended with status 3; its last words: out of order"):
        run(small_dataset, tmp_path, n_workers=2)


def test_error_in_a_worker_keeps_its_kind(small_dataset: Dataset, tmp_path: Path) -> None:
    broken = small_dataset.subset(np.arange(len(small_dataset)))
    broken.positions[1] = broken.positions[0]
    with pytest.raises(StructureError, match="teacher 0: "):
        run(broken, tmp_path, n_members=1)
    wild = TRAINING.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"teacher 0: the loss is (nan|inf) in epoch 1"):
        run(small_dataset, tmp_path, n_members=1, training=wild)
    away = TRAINING.model_copy(update={"learning_rate": 1e3, "optimizer": "adam"})
    with pytest.raises(TrainingError, match=r"teacher [01]: the training diverged: "):
        run(small_dataset, tmp_path, n_members=2, n_workers=2, training=away)


def test_numbers_of_members_and_workers(small_dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="n_members is 0; an ensemble needs at least 1"):
        run(small_dataset, None, n_members=0)
    with pytest.raises(ConfigError, match="n_workers is 0; at least 1 process"):
        run(small_dataset, None, n_workers=0)


def test_no_teachers_to_load(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no members in .*expected member-0/checkpoint"):
        load_ensemble(tmp_path)


SCRIPT = """
import signal
import ekd.config, ekd.data, ekd.training
signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell may have it ignored: nohup, &
data = ekd.data.load_dataset({path!r}, energy="ccsd(t)_ccpvdz.energy").subset(range(0, 3000, 80))
print("script runs", flush=True)
ekd.training.train_ensemble(
    data, ekd.config.HIPNNConfig(n_features=4), n_members=2, n_workers=2,
    training=ekd.config.TrainingConfig(epochs=100_000), directory={directory!r}, progress=False,
)
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_script_without_guard_and_interrupt(training_file: Path, tmp_path: Path) -> None:
    """The script runs once, Ctrl-C ends it and its workers, and the checkpoints are valid."""
    script, teachers = tmp_path / "script.py", tmp_path / "teachers"
    script.write_text(SCRIPT.format(path=str(training_file), directory=str(teachers)))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a separate process group, as created by a shell
    )
    try:
        paths = [teachers / f"member-{k}" / "checkpoint.pt" for k in range(2)]
        deadline = time.monotonic() + 60
        while not all(path.exists() for path in paths):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert output == "script runs\n"
    assert errors.strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no process is left
    for path in paths:
        with pytest.raises(CheckpointError, match="stopped after epoch"):
            TrainedModel.load(path)
    assert torch.load(paths[0], weights_only=True)["history"]


def test_given_reference_energies_are_those_of_all_members(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    """Least squares keep them too; a training with other reference energies is not resumed."""
    atoms = {1: -13.6, 6: -1029.8, 7: -1485.3, 8: -2041.8}
    data = replace(small_dataset, reference_energies=atoms)
    least_squares = TrainingConfig(optimizer="levenberg-marquardt", epochs=3)
    for training in (TRAINING, least_squares):
        members = run(data, tmp_path, n_members=1, training=training).members
        assert members[0].model.reference_energies.tolist() == list(atoms.values())
    assert members[0].history[-1]["loss"] < members[0].history[0]["loss"]
    other = replace(data, reference_energies=atoms | {1: -13.0})
    with pytest.raises(CheckpointError, match=r"provenance\.reference_energies\.H: -13\.6 in"):
        run(other, tmp_path, n_members=1, training=least_squares, resume=True)


def test_doubts_are_shown_once(
    small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    water = small_dataset.subset(np.flatnonzero(small_dataset.formulas == "H2O"))
    run(water, tmp_path, n_members=2, n_workers=1, progress=True)
    shown = capsys.readouterr().err
    assert shown.count("look: the compositions of the data do not determine") == 1
