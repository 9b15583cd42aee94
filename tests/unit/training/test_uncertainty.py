"""Training of the head: after the network, without changing it, with the right scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ekd.config import HIPNNConfig, TrainingConfig, UncertaintyConfig
from ekd.data import Dataset, fit_reference_energies
from ekd.errors import CheckpointError, TrainingError
from ekd.training import TrainedModel, train, training_run
from ekd.training.uncertainty import SpreadLesson, expected_error, likelihood_loss

MODEL = HIPNNConfig(
    l_max=1, n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0
)
TRAINING = TrainingConfig(epochs=3, batch_size=8)


def size(data: Dataset) -> np.ndarray:
    """Spread per element, over two orders of magnitude."""
    of_element = {1: 0.02, 6: 0.1, 7: 0.5, 8: 2.0}
    return np.array([of_element[z] for z in data.atomic_numbers.tolist()])


@pytest.fixture(scope="module")
def spread(small_dataset: Dataset) -> np.ndarray:
    """Spread of this magnitude, with unpredictable scatter."""
    scatter = np.random.default_rng(0).lognormal(sigma=0.5, size=small_dataset.n_atoms)
    return size(small_dataset) * scatter


def run(
    data: Dataset,
    spread: np.ndarray | None,
    n_steps: int = 50,
    target: str = "spread",
    n_teachers: int = 4,
    **changes: Any,
) -> TrainedModel:
    n = len(data)
    lesson = None
    if spread is not None:
        config = UncertaintyConfig(n_steps=n_steps, target=target)
        lesson = SpreadLesson(config, spread, n_teachers, np.arange(n - 5))
    settings = {
        "model": MODEL,
        "training": TRAINING,
        "train_indices": np.arange(n - 5),
        "validation_indices": np.arange(n - 5, n),
        "reference_energies": fit_reference_energies(data),
        "seed": 1,
        "labels": np.random.default_rng(0).normal(size=data.positions.shape),
        "spread": lesson,
    }
    return train(data, **(settings | changes))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_network_is_bitwise_the_one_without_a_head(
    small_dataset: Dataset, spread: np.ndarray, keep: str
) -> None:
    training = TRAINING.model_copy(update={"keep": keep})
    plain = run(small_dataset, None, training=training)
    headed = run(small_dataset, spread, training=training)
    assert plain.uncertainty_config is plain.uncertainty_record is None
    weights = headed.model.state_dict()
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, weights.pop(name)), name
    assert weights
    assert all(name.startswith("uncertainty_head.") for name in weights)
    for one, other in zip(plain.history, headed.history, strict=True):
        times = {"seconds", "configs_per_second"}
        assert {key: one[key] for key in one.keys() - times} == {
            key: other[key] for key in other.keys() - times
        }
    found, expected = headed.predict(small_dataset), plain.predict(small_dataset)
    np.testing.assert_array_equal(found.energies, expected.energies)
    np.testing.assert_array_equal(found.forces, expected.forces)
    assert expected.uncertainty is None
    assert found.uncertainty is not None
    assert (found.uncertainty > 0).all()
    assert headed.provenance.keys() - plain.provenance.keys() == {"spread_sha256"}


def test_scale_and_ranking(small_dataset: Dataset, spread: np.ndarray) -> None:
    """The mean over similar atoms is right, for large and small spreads."""
    trained = run(small_dataset, spread, n_steps=1000)
    found = trained.predict(small_dataset).uncertainty
    assert found is not None
    for element in small_dataset.elements:
        atoms = small_dataset.atomic_numbers == element
        ratio = np.mean(found[atoms]) / np.mean(spread[atoms])
        assert 0.8 < ratio < 1.25, element
    record = trained.uncertainty_record
    assert record is not None
    assert record["n_steps"] == 1000
    assert record["loss"] < record["constant_loss"]
    # The ranking must be as good as that by the typical spread of each element, which is all that
    # can be known. It orders atoms of the same element at random.
    last = small_dataset.config_index >= len(small_dataset) - 5
    order = 1 + 1e-3 * np.random.default_rng(1).random(small_dataset.n_atoms)
    for prefix, atoms in (("", ~last), ("validation_", last)):
        known = stats.spearmanr((order * size(small_dataset))[atoms], spread[atoms]).statistic
        assert record[f"{prefix}spearman"] > 0.9 * known
    rmse = np.sqrt(np.mean((found[last] - spread[last]) ** 2))
    assert record["validation_rmse"] == pytest.approx(rmse, rel=1e-4)


@pytest.mark.parametrize("n_teachers", [2, 3, 8])
def test_expected_error_is_that_of_exchangeable_teachers(n_teachers: int) -> None:
    """Truth and teachers have one distribution: error of a student and of the teachers' mean."""
    random = np.random.default_rng(0)
    truth, *teachers = random.normal(size=(n_teachers + 1, 100_000, 3))
    student = np.mean(teachers, axis=0) + random.normal(scale=0.3, size=truth.shape)
    spread = np.sqrt(np.var(teachers, axis=0).mean(1))
    distance = np.sqrt(((student - np.mean(teachers, axis=0)) ** 2).mean(1))
    told = expected_error(spread, n_teachers, distance)
    assert np.mean(told**2) == pytest.approx(np.mean((student - truth) ** 2), rel=0.02)


def test_the_error_has_the_distance_of_the_student_in_it(
    small_dataset: Dataset, spread: np.ndarray
) -> None:
    """The record compares predictions with spread and distance on the held-out part."""
    labels = np.random.default_rng(0).normal(size=small_dataset.positions.shape)
    trained = run(small_dataset, spread, 300, "error", 3, labels=labels)
    found = trained.predict(small_dataset)
    distance = np.sqrt(((found.forces - labels) ** 2).mean(1))
    last = small_dataset.config_index >= len(small_dataset) - 5
    target = np.sqrt(2 * spread**2 + distance**2)
    assert found.uncertainty is not None
    record = trained.uncertainty_record
    assert record is not None
    rmse = np.sqrt(np.mean((found.uncertainty - target)[last] ** 2))
    assert record["validation_rmse"] == pytest.approx(rmse, rel=1e-4)
    assert np.mean(found.uncertainty[~last]) == pytest.approx(np.mean(target[~last]), rel=0.25)
    plain = run(small_dataset, None, labels=labels).predict(small_dataset)
    np.testing.assert_array_equal(found.forces, plain.forces)


def test_minimum_of_the_loss_is_the_mean() -> None:
    spread = torch.tensor([0.0, 0.2, 0.9], dtype=torch.float64)
    wanted = (0.01 + 0.2 + 0.9) / 3
    sigma = torch.tensor(wanted, dtype=torch.float64, requires_grad=True)
    loss = likelihood_loss(sigma.expand(3), spread, 1e-2)
    assert abs(float(torch.autograd.grad(loss, sigma)[0])) < 1e-12
    assert likelihood_loss(torch.full((3,), 1.1 * wanted), spread, 1e-2) > loss


@pytest.mark.parametrize("after", [2, 3])
def test_resume_is_bitwise(
    small_dataset: Dataset, spread: np.ndarray, tmp_path: Path, after: int
) -> None:
    """Resume within the training of the network, and between network and head."""

    class StopError(Exception):
        pass

    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == after:
            raise StopError

    whole = run(small_dataset, spread)
    with pytest.raises(StopError):
        run(small_dataset, spread, directory=tmp_path, report=stop)
    epochs: list[int] = []
    resumed = run(
        small_dataset,
        spread,
        directory=tmp_path,
        resume=True,
        report=lambda record: epochs.append(record["epoch"]),
    )
    assert epochs == list(range(after + 1, 4))
    assert resumed.sha256 == whole.sha256
    assert TrainedModel.load(tmp_path / "checkpoint.pt").sha256 == whole.sha256
    again = TrainedModel.load(tmp_path / "checkpoint.pt")
    again.save(tmp_path / "copy.pt")
    copy = TrainedModel.load(tmp_path / "copy.pt")
    assert copy.sha256 == whole.sha256
    assert copy.uncertainty_config == UncertaintyConfig(n_steps=50, target="spread")
    assert copy.uncertainty_record == resumed.uncertainty_record


def test_resume_with_another_spread_is_refused(
    small_dataset: Dataset, spread: np.ndarray, tmp_path: Path
) -> None:
    run(small_dataset, spread, directory=tmp_path)
    with pytest.raises(CheckpointError, match=r"provenance\.spread_sha256"):
        run(small_dataset, 2 * spread, directory=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"uncertainty_config\.n_steps: 50 in the checkpoint"):
        run(small_dataset, spread, n_steps=60, directory=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"uncertainty_config\.target: 'spread'"):
        run(small_dataset, spread, target="error", directory=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="uncertainty_config"):
        run(small_dataset, None, directory=tmp_path, resume=True)


def test_many_atoms_are_drawn_from(
    small_dataset: Dataset, spread: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More atoms would not help; the validation part is used in full."""
    everything = run(small_dataset, spread).uncertainty_record
    monkeypatch.setattr("ekd.training.uncertainty._MOST_ATOMS", 60)
    few = run(small_dataset, spread).uncertainty_record
    assert few is not None
    assert everything is not None
    assert few["rmse"] != everything["rmse"]
    assert np.isfinite(few["validation_rmse"])


@pytest.mark.parametrize("loss", [float("nan"), 1e10])
def test_head_that_diverged(
    small_dataset: Dataset, spread: np.ndarray, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    def broken(*_: object) -> dict[str, float]:
        return {"loss": loss, "constant_loss": -1.5}

    monkeypatch.setattr(training_run, "fit_uncertainty", broken)
    message = r"uncertainty cannot be trained: its loss is (nan|1e\+10), and .*all atoms is -1\.5;"
    with pytest.raises(TrainingError, match=message):
        run(small_dataset, spread)
