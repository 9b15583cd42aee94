"""Least-squares steps: algebra of a step, and trainings."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainings
from ekd.config import StudentTrainingConfig, TrainingConfig, validate_config
from ekd.data import Dataset, fit_reference_energies
from ekd.errors import ConfigError, TrainingError
from ekd.models import HIPNN
from ekd.training import TrainedModel, least_squares, levenberg_marquardt
from ekd.training import loop as training_loop
from ekd.training.levenberg_marquardt import LevenbergMarquardt, step_scales
from ekd.training.parallel import Group
from tolerances import tolerance
from trainings import MODEL

TRAINING = TrainingConfig(optimizer="levenberg-marquardt", epochs=6, early_stopping=None)
N_CONFIGS, N_WEIGHTS = 5, 9
run = functools.partial(trainings.run, training=TRAINING)


def random_problem() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "weights": normal(N_WEIGHTS),
        "jacobian": normal(N_CONFIGS, N_WEIGHTS),
        "residuals": normal(N_CONFIGS),
        "scales": normal(N_WEIGHTS).abs() + 0.1,
        "compositions": torch.tensor([[2.0, 1], [2, 1], [1, 0], [4, 2], [3, 1]]).double(),
    }


@pytest.mark.parametrize("rows", [2, N_CONFIGS])
def test_a_step_solves_the_damped_problem(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with the normal equations of all unknowns, including reference energies."""
    monkeypatch.setattr(levenberg_marquardt, "_ROWS", rows)
    given = random_problem()
    start, jacobian, residuals = given["weights"], given["jacobian"], given["residuals"]
    weights, average = start.clone(), torch.zeros(N_WEIGHTS, dtype=torch.float64)
    optimizer = LevenbergMarquardt(weights, average, given["scales"])
    optimizer.damping = damping = 0.3
    optimizer.step(
        jacobian.clone(),
        residuals,
        lambda: residuals - jacobian @ (weights - start),
        given["compositions"],
    )
    units = jacobian * given["scales"]
    unknowns = torch.cat([units, given["compositions"]], dim=1)
    matrix = unknowns.T @ unknowns
    matrix.diagonal()[:N_WEIGHTS] += damping
    solution = torch.linalg.solve(matrix, unknowns.T @ residuals)
    expected = start + given["scales"] * solution[:N_WEIGHTS]
    torch.testing.assert_close(weights, expected, **tolerance("least_squares").bounds)
    assert torch.equal(average, weights)
    assert optimizer.damping < damping  # predictions for a linear problem are exact


def test_a_step_that_gains_nothing_is_taken_back() -> None:
    given = random_problem()
    weights = given["weights"].clone()
    optimizer = LevenbergMarquardt(weights, weights.clone(), given["scales"])
    seen: list[torch.Tensor] = []

    def worse() -> torch.Tensor:
        seen.append(weights.clone())
        return given["residuals"] * (torch.nan if len(seen) < 3 else 10.0)

    optimizer.damping = 1.0
    optimizer.step(given["jacobian"], given["residuals"], worse, given["compositions"])
    assert torch.equal(weights, given["weights"])
    assert optimizer.damping > 1e6
    lengths = [float((tried - given["weights"]).norm()) for tried in seen]
    assert lengths == sorted(lengths, reverse=True)


def test_energies_that_are_given_twice_take_no_harm() -> None:
    """J J^T is singular then, and the small damping is lost in rounding."""
    given = random_problem()
    jacobian = torch.cat([given["jacobian"]] * 2)
    residuals = torch.cat([given["residuals"]] * 2)
    compositions = torch.cat([given["compositions"]] * 2)
    weights = given["weights"].clone()
    optimizer = LevenbergMarquardt(weights, weights.clone(), given["scales"])
    optimizer.damping = 1e-300
    optimizer.step(
        jacobian.clone(),
        residuals,
        lambda: residuals - jacobian @ (weights - given["weights"]),
        compositions,
    )
    left = residuals - jacobian @ (weights - given["weights"])
    basis = torch.linalg.qr(compositions)[0]
    # The smallest damping is 1e-13 of the trace, so only negligible components are left unfitted.
    assert float((left - basis @ (basis.T @ left)).norm()) < 1e-4 * float(residuals.norm())


def test_sensitivities_are_damped_more() -> None:
    scales = step_scales(HIPNN(MODEL, [1, 8], [0.0, 0.0]))
    assert int((scales < 1).sum()) == 2 * MODEL.n_sensitivities
    assert scales.max() == 1


def test_it_fits_what_soap_does_not_yet(small_dataset: Dataset) -> None:
    epochs = 12
    ours = run(small_dataset, training=TRAINING.model_copy(update={"epochs": epochs}))
    theirs = run(small_dataset, training=TrainingConfig(epochs=epochs, batch_size=8))
    assert ours.history[-1]["energy_rmse"] < 0.2 * theirs.history[-1]["energy_rmse"]
    squares = [record["loss"] for record in ours.history]
    assert squares == sorted(squares, reverse=True)


def test_history_is_that_of_the_model_that_is_kept(small_dataset: Dataset, tmp_path: Path) -> None:
    """Reference energies, which change too, are kept with the weights."""
    trained = run(small_dataset, directory=tmp_path)
    loaded = TrainedModel.load(tmp_path / "checkpoint.pt")
    errors = loaded.predict(small_dataset).energies - small_dataset.energies
    last = trained.history[-1]
    bounds = tolerance("least_squares").bounds
    for part, name in ((errors[:-5], "energy"), (errors[-5:], "validation_energy")):
        np.testing.assert_allclose(last[f"{name}_rmse"], np.sqrt(np.mean(part**2)), **bounds)
        np.testing.assert_allclose(last[f"{name}_mae"], np.mean(np.abs(part)), **bounds)
    assert loaded.model.reference_energies.tolist() != pytest.approx(
        list(fit_reference_energies(small_dataset).values()), abs=1e-6
    )


def test_resume_is_bitwise(small_dataset: Dataset, tmp_path: Path) -> None:
    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == 3 and "loss" in record:
            raise KeyboardInterrupt

    whole = run(small_dataset)
    with pytest.raises(KeyboardInterrupt):
        run(small_dataset, directory=tmp_path, report=stop)
    resumed = run(small_dataset, directory=tmp_path, resume=True)
    assert resumed.sha256 == whole.sha256
    times = {"seconds", "configs_per_second"}
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert {k: v for k, v in ours.items() if k not in times} == {
            k: v for k, v in theirs.items() if k not in times
        }


def test_it_ends_after_the_best_epoch(small_dataset: Dataset) -> None:
    patience = 2
    training = TrainingConfig(optimizer="levenberg-marquardt", early_stopping=patience)
    losses = [record["validation_loss"] for record in run(small_dataset, training=training).history]
    assert len(losses) < training.epochs
    assert len(losses) - 1 - int(np.argmin(losses)) == patience


def test_progress_within_a_step(small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_squares, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(least_squares, "_PAIRS_PER_SLOPES", 100)
    seen: list[dict[str, Any]] = []
    run(
        small_dataset,
        training=TRAINING.model_copy(update={"epochs": 1}),
        report_batch=seen.append,
    )
    n = len(small_dataset) - 5
    done = [record["batch"] for record in seen]
    assert len(done) > 1
    assert done == sorted(set(done))
    assert done[-1] == n
    assert {record["n_batches"] for record in seen} == {n}


def test_defaults_of_its_own() -> None:
    training = TrainingConfig(optimizer="levenberg-marquardt")
    assert (training.epochs, training.early_stopping, training.dtype) == (60, 8, "float64")
    assert TrainingConfig(optimizer="levenberg-marquardt", epochs=7).epochs == 7
    assert TrainingConfig(**training.model_dump()) == training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float32"}, "needs dtype = 'float64', found 'float32'"),
        ({"l2_weight": 0.1}, "l2_weight = 0.1 is not supported by optimizer"),
        ({"hierarchicality_weight": 0.1}, "hierarchicality_weight = 0.1 is not supported"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(optimizer="levenberg-marquardt", **settings)


def test_not_for_students(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="should be 'soap' or 'adam'"):
        StudentTrainingConfig(optimizer="levenberg-marquardt")
    raw = {"student": {"training": {"optimizer": "levenberg-marquardt"}}}
    with pytest.raises(ConfigError, match=r"student\.training\.optimizer"):
        validate_config(raw, base=tmp_path, source="test")


def test_forces_are_refused(small_dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="supports only energies, not forces; use 'soap'"):
        run(small_dataset, labels=np.zeros_like(small_dataset.positions))


def test_too_many_configurations(small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_loop, "_MOST_CONFIGS", 10)
    with pytest.raises(ConfigError, match=r"all 38 configurations .* supports at most 10"):
        run(small_dataset)


def test_several_processes_are_refused(small_dataset: Dataset) -> None:
    class Two(Group):
        n_ranks = 2

    with pytest.raises(ConfigError, match="trains in one process, found 2"):
        run(small_dataset, group=Two())


def test_divergence_is_told_without_a_rate(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that reduce the training error may increase the validation error."""

    def astray(optimizer: LevenbergMarquardt, *_: object) -> None:
        optimizer.step_count += 1
        optimizer.weights.mul_(1e3)
        optimizer.average.copy_(optimizer.weights)

    monkeypatch.setattr(LevenbergMarquardt, "step", astray)
    with pytest.raises(TrainingError, match=r"training diverged: .*use optimizer = 'soap'"):
        run(small_dataset)
