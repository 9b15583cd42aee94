"""Output for users in the folders of trained models: curves, parity plots, a summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.distillation import Labels
from ekd.files import atomic_write, remove_leftovers
from ekd.pipeline import run_plots
from ekd.reporting import style
from ekd.training import TrainedModel
from ekd.training.predictions import Predictions
from ekd.training.schedules import best_epoch
from ekd.training.uncertainty import expected_error

_FILES = (
    "learning_curves.png",
    "energy_parity.png",
    "force_parity.png",
    "uncertainty.png",
    "summary.json",
)
_MOST = 2000  # configurations in a parity plot; more would be slow and illegible


def draw_curves(
    folder: Path, models: Sequence[TrainedModel], title: str, color: str = style.TEACHER
) -> None:
    """Write ``learning_curves.png`` into the folder of the models."""
    name = title if len(models) == 1 else f"{len(models)} {title}s"
    curves = run_plots.training_curves([_columns(model.history) for model in models], name, color)
    style.save(curves, folder / "learning_curves.png")


def conclude(
    folder: Path,
    models: Sequence[TrainedModel],
    title: str,
    data: Dataset,
    held_out: NDArray[np.int64],
    labels: Labels | None = None,
) -> None:
    """Write ``learning_curves.png``, ``energy_parity.png``, ``summary.json`` into a folder.

    Args:
        folder: folder of the models.
        models: trained models.
        title: "teacher" or "student".
        data: reference energies.
        held_out: configurations that no model was trained on; the parity plots show some of them.
        labels: labels of the teachers for a student, shown in ``force_parity.png``, and in
            ``uncertainty.png`` if it predicts uncertainties.
    """
    for name in _FILES:
        remove_leftovers(folder / name)
    color = style.TEACHER if title == "teacher" else style.STUDENT
    name = title if len(models) == 1 else f"{len(models)} {title}s"
    draw_curves(folder, models, title, color)
    shown = np.sort(np.random.default_rng(0).permutation(held_out)[:_MOST])
    truth = data.subset(shown)
    predictions = [model.predict(truth) for model in models]
    energies = {name: [predicted.energies for predicted in predictions]}
    figure = run_plots.energy_parity(truth.energies, truth.groups, energies)
    style.save(figure, folder / "energy_parity.png")
    if labels is not None:
        rows = np.concatenate(
            [np.arange(data.offsets[config], data.offsets[config + 1]) for config in shown]
        )
        forces = {name: [predicted.forces for predicted in predictions]}
        figure = run_plots.force_parity(labels.forces[rows], forces)
        style.save(figure, folder / "force_parity.png")
        _draw_uncertainty(folder, models, predictions, labels, rows)
    with atomic_write(folder / "summary.json") as temporary:
        content = {"members": [_describe(model) for model in models]}
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _draw_uncertainty(
    folder: Path,
    models: Sequence[TrainedModel],
    predictions: Sequence[Predictions],
    labels: Labels,
    rows: NDArray[np.int64],
) -> None:
    """Draw ``uncertainty.png``: predicted uncertainties of these atoms and their targets."""
    spread = labels.forces_std[rows]
    targets, learned, name = [], [], "spread of the teachers"
    for model, predicted in zip(models, predictions, strict=True):
        if predicted.uncertainty is None or model.uncertainty_config is None:
            continue
        target = spread
        if model.uncertainty_config.target == "error":
            distance = np.sqrt(((predicted.forces - labels.forces[rows]) ** 2).mean(1))
            target = expected_error(spread, labels.n_members, distance)
            name = "error expected from the teachers"
        targets.append(target)
        learned.append(predicted.uncertainty)
    if learned:
        figure = run_plots.learned_uncertainty(targets, learned, name)
        style.save(figure, folder / "uncertainty.png")


def _describe(model: TrainedModel) -> dict[str, Any]:
    """Summarize a training, with its last epoch; eV, eV/Å."""
    history = model.history
    return {
        "seed": model.provenance["seed"],
        "sha256": model.sha256,
        "n_training": model.provenance["n_training"],
        "n_validation": model.provenance["n_validation"],
        "n_epochs": len(history),
        "best_epoch": best_epoch(history),
        "seconds": sum(record["seconds"] for record in history),
        "last": history[-1],
        "uncertainty": model.uncertainty_record,
        "on_policy": model.provenance.get("on_policy", []),
    }


def _columns(history: Sequence[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    return {
        name: np.array([np.nan if (v := record[name]) is None else v for record in history])
        for name in history[0]
    }
