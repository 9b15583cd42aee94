"""Rows of an evaluation: errors and calibrations by dataset, slice, model and quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.evaluation.accuracy import Errors, Slice, conformers, measure, slices
from ekd.evaluation.calibration import calibrate, spread_and_error
from ekd.evaluation.evaluation_results import CalibrationRow, Row
from ekd.evaluation.models import EvaluatedModel, ModelPredictions, TeacherModel

COMBINED = "all sets"
"""Name of the rows for all datasets at one level of theory."""


def error_rows(
    models: Sequence[EvaluatedModel],
    truths: Mapping[str, Dataset],
    predictions: Mapping[tuple[str, str], ModelPredictions],
    windows: Sequence[float],
    counting: Set[tuple[str, str]],
) -> list[Row]:
    """Compute the errors of each model on each dataset, and on all datasets at the same level.

    Args:
        models: models in the order of the rows.
        truths: datasets by name.
        predictions: predictions by names of dataset and model.
        windows: energy windows above the lowest conformer, kcal/mol.
        counting: pairs of dataset and model for which total energies are compared.
    """
    rows = []
    for name, truth in truths.items():
        found = {model.name: predictions[name, model.name] for model in models}
        count = {model for dataset, model in counting if dataset == name}
        rows += _slice_rows(name, truth, windows, models, found, count)
    for level, names in by_level(truths).items():
        if len(names) > 1:
            title = COMBINED if len(by_level(truths)) == 1 else f"{COMBINED}, {level}"
            joined, joined_predictions = _joined(names, truths, models, predictions)
            count = {model for name, model in counting if name == names[0]}
            rows += _slice_rows(title, joined, windows, models, joined_predictions, count, False)
    return rows


def _slice_rows(
    name: str,
    truth: Dataset,
    windows: Sequence[float],
    models: Sequence[EvaluatedModel],
    predictions: Mapping[str, ModelPredictions],
    counting: Set[str],
    by_group: bool = True,
) -> list[Row]:
    rows = []
    molecule = conformers(truth)
    for part in slices(truth, windows, by_group):
        entries: list[tuple[str, dict[str, Errors]]] = []
        for model in models:
            found = predictions[model.name]

            def errors(
                energies: NDArray[Any] | None,
                forces: NDArray[Any] | None,
                part: Slice = part,
                use_energies: bool = model.name in counting,
            ) -> dict[str, Errors]:
                return measure(part, truth, molecule, energies, forces, use_energies)

            # Members have no rows by group, because there may be thousands of groups.
            if (title := members_title(model)) and part.kind != "group":
                # Treat energies and forces separately: some members may have no usable energies.
                each = [errors(one, None) for one in _members(found.member_energies)]
                entries.append((title, _mean(each)))
                each = [errors(None, one) for one in _members(found.member_forces)]
                entries.append((title, _mean(each)))
            entries.append((model.name, errors(found.energies, found.forces)))
        rows += [
            Row(
                name,
                truth.provenance.level_of_theory,
                part.kind,
                part.name,
                len(part.configs),
                title,
                quantity,
                value,
            )
            for title, values in entries
            for quantity, value in values.items()
        ]
    return rows


def _members(arrays: NDArray[Any] | None) -> list[NDArray[Any]]:
    return [] if arrays is None else list(arrays)


def _mean(each: list[dict[str, Errors]]) -> dict[str, Errors]:
    return {name: Errors.mean([one[name] for one in each]) for name in each[0]} if each else {}


def members_title(model: EvaluatedModel) -> str:
    """Name of the row for the individual members of a model; empty if there is none."""
    if model.n_members < 2 or not isinstance(model, TeacherModel):
        return ""
    prefix, colon, _ = model.name.rpartition(": ")
    name = model.members_name if colon or model.members_name != "member" else f"{model.name}, one"
    return f"{prefix}{colon}{name}"


def by_level(truths: Mapping[str, Dataset]) -> dict[str, list[str]]:
    """Return the names of datasets by level of theory."""
    levels: dict[str, list[str]] = {}
    for name, truth in truths.items():
        levels.setdefault(truth.provenance.level_of_theory, []).append(name)
    return levels


def _joined(
    names: Sequence[str],
    truths: Mapping[str, Dataset],
    models: Sequence[EvaluatedModel],
    predictions: Mapping[tuple[str, str], ModelPredictions],
) -> tuple[Dataset, dict[str, ModelPredictions]]:
    """Join several datasets; molecules with the same name in different datasets are distinct."""
    parts = [
        replace(truths[name], groups=np.char.add(f"{name}\0", truths[name].groups))
        for name in names
    ]
    found = {}
    for model in models:
        several = [predictions[name, model.name] for name in names]
        arrays = {
            field.name: np.concatenate(
                [getattr(one, field.name) for one in several],
                axis=1 if field.name.startswith("member") else 0,
            )
            for field in fields(ModelPredictions)
            if all(getattr(one, field.name) is not None for one in several)
        }
        found[model.name] = ModelPredictions(**arrays)
    return concatenate(*parts), found


def calibration_rows(
    models: Sequence[EvaluatedModel],
    truths: Mapping[str, Dataset],
    predictions: Mapping[tuple[str, str], ModelPredictions],
    counting: Set[tuple[str, str]],
) -> list[CalibrationRow]:
    """Compare spreads and learned uncertainties with errors; arguments as :func:`error_rows`."""
    rows = []
    for name, truth in truths.items():
        for model in models:
            found = predictions[name, model.name]
            quantities = []
            if truth.forces is not None and found.forces_std is not None:
                quantities.append(("force", "spread"))
            if truth.forces is not None and found.uncertainty is not None:
                quantities.append(("force", "uncertainty"))
            if found.energies_std is not None and (name, model.name) in counting and len(truth) > 1:
                quantities.append(("energy_per_atom", "spread"))
            rows += [
                CalibrationRow(
                    name,
                    truth.provenance.level_of_theory,
                    model.name,
                    quantity,
                    estimate,
                    calibrate(*spread_and_error(truth, found, quantity, estimate)),
                )
                for quantity, estimate in quantities
            ]
    return rows
