"""Training of one network: convergence, bitwise resuming, and errors for mismatches."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ekd.config import TrainingConfig
from ekd.data import Dataset
from ekd.errors import CheckpointError, DataError, TrainingError
from ekd.training import TrainedModel
from ekd.training import checkpoint as checkpoints
from trainings import MODEL, TRAINING, run


class StopError(Exception):
    """Raised in place of anything that may end a process."""


def run_and_stop(data: Dataset, directory: Path, after: int, **changes: Any) -> None:
    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == after:
            raise StopError

    with pytest.raises(StopError):
        run(data, directory=directory, report=stop, **changes)


def weights(trained: TrainedModel) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(trained.model.parameters()).detach()


def without_time(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    times = {"seconds", "configs_per_second"}
    return [{key: record[key] for key in record if key not in times} for record in history]


@pytest.fixture
def labels(small_dataset: Dataset) -> np.ndarray:
    """Forces with only the right shape."""
    return np.random.default_rng(0).normal(size=small_dataset.positions.shape)


def test_loss_falls(small_dataset: Dataset) -> None:
    # After 40 epochs the loss is 0.09 to 0.28 of the first one, depending on the seed, and up to
    # 0.31 with the rounding of other processors; after 80 epochs it is below 0.07.
    trained = run(
        small_dataset, training=TrainingConfig(epochs=80, batch_size=8, learning_rate=1e-2)
    )
    assert len(trained.history) == 80
    assert trained.history[-1]["loss"] < 0.3 * trained.history[0]["loss"]
    last = trained.history[-1]
    error = trained.predict(small_dataset).energies - small_dataset.energies
    assert last["validation_energy_rmse"] == pytest.approx(np.sqrt(np.mean(error[-5:] ** 2)), 1e-3)
    assert last["validation_energy_mae"] == pytest.approx(np.mean(np.abs(error[-5:])), 1e-3)
    assert last["force_rmse"] is None


def test_labels_teach_forces(small_dataset: Dataset) -> None:
    """Data are from a network. With energies alone, the forces remain inaccurate."""
    fast = TrainingConfig(epochs=20, batch_size=8, learning_rate=2e-2, force_weight=10)
    teacher = run(small_dataset, seed=7, training=fast).predict(small_dataset)
    data = dataclasses.replace(small_dataset, energies=teacher.energies)
    with_labels = run(data, labels=teacher.forces, training=fast)
    errors = [
        trained.predict(data).forces - teacher.forces
        for trained in (with_labels, run(data, training=fast))
    ]
    assert np.std(errors[0]) < 0.7 * np.std(errors[1])
    held_out = errors[0][data.config_index >= len(data) - 5]
    expected = np.sqrt(np.mean(held_out**2))
    assert with_labels.history[-1]["validation_force_rmse"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("with_labels", [False, True])
def test_resume_is_bitwise(
    small_dataset: Dataset, labels: np.ndarray, tmp_path: Path, with_labels: bool
) -> None:
    given = {"labels": labels if with_labels else None}
    whole = run(small_dataset, **given)
    run_and_stop(small_dataset, tmp_path, after=2, **given)
    resumed = run(small_dataset, directory=tmp_path, resume=True, **given)
    assert torch.equal(weights(resumed), weights(whole))
    assert without_time(resumed.history) == without_time(whole.history)
    assert resumed.sha256 == whole.sha256


def test_seed_decides(small_dataset: Dataset) -> None:
    assert torch.equal(weights(run(small_dataset)), weights(run(small_dataset)))
    assert not torch.equal(weights(run(small_dataset)), weights(run(small_dataset, seed=2)))


def test_global_random_state_and_threads_are_left_alone(small_dataset: Dataset) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run(small_dataset)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_finished_training_returns_at_once(small_dataset: Dataset, tmp_path: Path) -> None:
    first = run(small_dataset, directory=tmp_path)
    epochs: list[Any] = []
    again = run(small_dataset, directory=tmp_path, resume=True, report=epochs.append)
    assert not epochs
    assert torch.equal(weights(again), weights(first))
    run(small_dataset, directory=tmp_path, report=epochs.append)  # starts again without resume
    assert len(epochs) == TRAINING.epochs


def test_history_file(small_dataset: Dataset, tmp_path: Path) -> None:
    trained = run(small_dataset, directory=tmp_path)
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[-1]["loss"]) == trained.history[-1]["loss"]
    assert rows[0]["force_rmse"] == ""


def test_resume_with_other_settings(small_dataset: Dataset, tmp_path: Path) -> None:
    run_and_stop(small_dataset, tmp_path, after=1)
    other = TrainingConfig(epochs=5, batch_size=8)
    message = r"training_config.epochs: 4 in the checkpoint, 5 now\nrestore"
    with pytest.raises(CheckpointError, match=message):
        run(small_dataset, directory=tmp_path, resume=True, training=other)


def test_resume_with_other_data(small_dataset: Dataset, labels: np.ndarray, tmp_path: Path) -> None:
    run_and_stop(small_dataset, tmp_path, after=1)
    with pytest.raises(CheckpointError, match=r"provenance\.data\.fingerprint"):
        run(small_dataset.subset(np.arange(40)), directory=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"provenance\.labels_sha256: None"):
        run(small_dataset, directory=tmp_path, resume=True, labels=labels)


def test_damaged_checkpoint(small_dataset: Dataset, tmp_path: Path) -> None:
    run_and_stop(small_dataset, tmp_path, after=1)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            run(small_dataset, directory=tmp_path, resume=True)


def test_checkpoint_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match="format 99, expected 1 to 5"):
        checkpoints.load(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="format None"):
        checkpoints.load(path)


def test_save_and_load(small_dataset: Dataset, tmp_path: Path) -> None:
    trained = run(small_dataset)
    trained.save(tmp_path / "model.pt")
    loaded = TrainedModel.load(tmp_path / "model.pt")
    assert loaded.sha256 == trained.sha256
    assert loaded.history == trained.history
    assert (loaded.model_config, loaded.training_config) == (MODEL, TRAINING)
    assert loaded.provenance["data"]["fingerprint"] == small_dataset.fingerprint
    ours, theirs = loaded.predict(small_dataset), trained.predict(small_dataset)
    np.testing.assert_array_equal(ours.forces, theirs.forces)


def test_load_of_nothing_and_of_half_a_training(small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found; check the path, or train first"):
        TrainedModel.load(tmp_path / "checkpoint.pt")
    run_and_stop(small_dataset, tmp_path, after=3)
    with pytest.raises(CheckpointError, match="stopped after epoch 3 of 4; finish it"):
        TrainedModel.load(tmp_path / "checkpoint.pt")


def test_divergence(small_dataset: Dataset) -> None:
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) in epoch 1; lower learning_rate \(1e\+30\)"
    ):
        run(small_dataset, training=TrainingConfig(epochs=2, batch_size=8, learning_rate=1e30))


@pytest.mark.parametrize(("rate", "when"), [(1e3, "in epoch 1"), (30.0, "at the end")])
def test_divergence_to_large_numbers(small_dataset: Dataset, rate: float, when: str) -> None:
    """The loss is finite, but far larger than before the first step."""
    training = TrainingConfig(epochs=4, batch_size=8, optimizer="adam", learning_rate=rate)
    with pytest.raises(
        TrainingError,
        match=rf"its validation loss is \d\S* {when}, and \d\S* before the first step; lower",
    ):
        run(small_dataset, training=training)


def test_training_that_recovers_has_not_diverged(small_dataset: Dataset) -> None:
    """Losses rise and fall again; how much depends on the seed and on rounding."""
    training = TrainingConfig(epochs=4, batch_size=8, learning_rate=1.0)
    ratios = []
    for seed in range(60):  # none of them raises an error
        trained = run(small_dataset, training=training, seed=seed)
        losses = [record["loss"] for record in trained.history]
        ratios.append(max(losses) / losses[-1])
    assert max(ratios) > 50


def test_diverged_training_leaves_no_finished_checkpoint(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    training = TrainingConfig(epochs=4, batch_size=8, optimizer="adam", learning_rate=30.0)
    with pytest.raises(TrainingError, match="at the end"):
        run(small_dataset, training=training, directory=tmp_path)
    with pytest.raises(CheckpointError, match="stopped after epoch 3 of 4"):
        TrainedModel.load(tmp_path / "checkpoint.pt")


def test_labels_of_another_shape(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"force labels have shape \(3, 3\)"):
        run(small_dataset, labels=np.zeros((3, 3)))


def test_empty_validation(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="0 to validate"):
        run(small_dataset, validation_indices=np.array([], dtype=np.int64))


def test_hierarchicality_enters_the_loss(small_dataset: Dataset) -> None:
    model = MODEL.model_copy(update={"n_interactions": 2})
    plain = run(small_dataset, model=model)
    weighted = TRAINING.model_copy(update={"hierarchicality_weight": 1.0})
    assert run(small_dataset, model=model, training=weighted).sha256 != plain.sha256


@pytest.mark.parametrize("settings", [{}, {"batch_atoms": 30}])
def test_resume_within_an_epoch_is_bitwise(
    small_dataset: Dataset,
    labels: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
) -> None:
    """A checkpoint after every step; the end comes after the third step of the second epoch."""
    training = TRAINING.model_copy(update=settings | {"checkpoint_minutes": 1e-9})
    whole = run(small_dataset, labels=labels, training=training)
    save, begun = checkpoints.save, []

    def save_and_stop(path: Path, contents: dict[str, Any]) -> None:
        save(path, contents)
        epoch = (contents["state"] or {}).get("epoch")
        begun.append((len(contents["history"]), epoch and epoch["n_steps"]))
        if begun[-1] == (1, 3):
            raise StopError

    monkeypatch.setattr(checkpoints, "save", save_and_stop)
    with pytest.raises(StopError):
        run(small_dataset, labels=labels, training=training, directory=tmp_path)
    again = {"labels": labels, "training": training, "directory": tmp_path, "resume": True}
    resumed = run(small_dataset, **again)
    assert begun[begun.index((1, 3)) + 1] == (1, 4)
    assert resumed.sha256 == whole.sha256
    assert without_time(resumed.history) == without_time(whole.history)


def test_early_stopping_and_the_best_weights(small_dataset: Dataset, tmp_path: Path) -> None:
    """A rate that is far too high: the validation loss has its minimum before the end."""
    settings = {"epochs": 60, "batch_size": 8, "learning_rate": 0.3, "schedule": "constant"}
    whole = run(small_dataset, training=TrainingConfig(**settings))
    losses = [record["validation_loss"] for record in whole.history]
    settings |= {"early_stopping": 3, "keep": "best"}
    stopped = run(small_dataset, training=TrainingConfig(**settings), directory=tmp_path)
    n_epochs = len(stopped.history)
    best = int(np.argmin(losses[:n_epochs]))
    assert n_epochs == best + 1 + 3 < 60
    assert losses[:n_epochs] == [record["validation_loss"] for record in stopped.history]
    error = stopped.predict(small_dataset).energies - small_dataset.energies
    expected = stopped.history[best]["validation_energy_rmse"]
    assert np.sqrt(np.mean(error[-5:] ** 2)) == pytest.approx(expected, rel=1e-3)
    assert TrainedModel.load(tmp_path / "checkpoint.pt").sha256 == stopped.sha256
    run_and_stop(small_dataset, tmp_path, after=best + 2, training=TrainingConfig(**settings))
    again = {"training": TrainingConfig(**settings), "directory": tmp_path, "resume": True}
    assert run(small_dataset, **again).sha256 == stopped.sha256


def test_no_gpu(small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="device = 'cuda', but torch finds no GPU here"):
        run(small_dataset, training=TRAINING.model_copy(update={"device": "cuda"}))


def test_where_it_is_trained_may_change(small_dataset: Dataset, tmp_path: Path) -> None:
    run_and_stop(small_dataset, tmp_path, after=1)
    contents = checkpoints.load(tmp_path / "checkpoint.pt")
    contents["training_config"] |= {"device": "cuda", "checkpoint_minutes": 1.0}
    checkpoints.save(tmp_path / "checkpoint.pt", contents)
    assert len(run(small_dataset, directory=tmp_path, resume=True).history) == TRAINING.epochs
