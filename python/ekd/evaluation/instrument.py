"""``ekd.evaluate``: models side by side on data that are true."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.errors import ConfigError
from ekd.evaluation.accuracy import Errors, Slice, conformers, measure, slices
from ekd.evaluation.calibration import Calibration, calibrate, spread_and_error
from ekd.evaluation.curves import Curve, compare_curves
from ekd.evaluation.models import EvaluatedModel, ModelPredictions, TeacherModel
from ekd.evaluation.predictions import predict_everything
from ekd.evaluation.settings import CurveConfig
from ekd.evaluation.sources import DataLike, ModelLike, open_data, open_models
from ekd.locks import locked_folder

COMBINED = "all sets"
"""Name of the rows over all datasets of one level of theory."""


@dataclass(frozen=True)
class Row:
    """Errors of one model for one quantity in one slice of one dataset.

    Attributes:
        dataset: its name.
        level_of_theory: of its labels; datasets of different levels are never joined.
        slice_kind: ``all``, ``window``, ``group`` or ``element``.
        slice_name: of the window, group or element.
        n_configs: configurations in the slice.
        model: its name, or that of one of several members, whose errors are averaged.
        quantity: see :data:`ekd.evaluation.accuracy.QUANTITIES`.
        errors: in eV, eV/atom or eV/Å.
    """

    dataset: str
    level_of_theory: str
    slice_kind: str
    slice_name: str
    n_configs: int
    model: str
    quantity: str
    errors: Errors


@dataclass(frozen=True)
class CalibrationRow:
    """How well the spread of a model tells its errors.

    Attributes:
        dataset: its name.
        level_of_theory: of its labels.
        model: its name.
        quantity: ``force`` (per atom, of a component) or ``energy_per_atom``.
        estimate: what tells the error: ``spread`` of the members of the model, or ``uncertainty``,
            that which it has learned from the spread of its teachers.
        result: numbers and curves.
    """

    dataset: str
    level_of_theory: str
    model: str
    quantity: str
    estimate: str
    result: Calibration


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model.

    Attributes:
        name: for people.
        kind: network, mean of several, exported file or calculator.
        level_of_theory: of the energies that it learned from; empty: not known.
        use_energies: whether total energies are measured.
        n_members: models whose mean it is.
        members_name: what one of several members is called in tables; empty: no such rows.
        sha256: of the model.
        seconds: of one core for all predictions, measured when they were made.
        microseconds_per_atom: the same per atom, energy and forces.
    """

    name: str
    kind: str
    level_of_theory: str
    use_energies: bool
    n_members: int
    members_name: str
    sha256: str
    seconds: float
    microseconds_per_atom: float


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a dataset."""

    name: str
    path: str
    sha256: str
    level_of_theory: str
    n_configs: int
    n_atoms: int
    n_groups: int
    n_dropped: int
    has_forces: bool
    elements: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out. :meth:`write` makes files of it, :meth:`tables` shows it in a terminal.

    Attributes:
        models: in their order.
        datasets: in their order.
        rows: all errors.
        calibrations: of models with several members, and of students that tell their uncertainty.
        curves: scans.
        notes: what a reader should know, in sentences.
        windows: of energies, kcal/mol.
        units: of tables and plots, ``meV`` or ``kcal/mol``.
        truths: the datasets by name.
        predictions: by names of dataset and model.
        counting: dataset and model for which total energies are measured.
    """

    models: list[ModelInfo]
    datasets: list[DatasetInfo]
    rows: list[Row]
    calibrations: list[CalibrationRow]
    curves: list[Curve]
    notes: list[str]
    windows: list[float]
    units: str
    truths: Mapping[str, Dataset]
    predictions: Mapping[tuple[str, str], ModelPredictions]
    counting: Set[tuple[str, str]]

    def select(
        self,
        dataset: str | None = None,
        model: str | None = None,
        quantity: str | None = None,
        kind: str | None = "all",
    ) -> list[Row]:
        """Rows with all of these properties; None: any."""
        return [
            row
            for row in self.rows
            if dataset in (None, row.dataset)
            and model in (None, row.model)
            and quantity in (None, row.quantity)
            and kind in (None, row.slice_kind)
        ]

    def tables(self) -> list[Any]:
        """Tables of :mod:`rich`."""
        from ekd.evaluation.tables import terminal_tables

        return terminal_tables(self)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``report.html``, ``summary.json``, ``tables/`` and ``plots/``."""
        from ekd.evaluation.output import write

        with locked_folder(folder):
            write(self, Path(folder))


def evaluate(
    models: ModelLike | Iterable[ModelLike] | Mapping[str, ModelLike],
    data: DataLike | Sequence[DataLike] | Mapping[str, DataLike] = (),
    curves: CurveConfig | Sequence[CurveConfig] = (),
    output: str | os.PathLike[str] | None = None,
    windows: Sequence[float] = (100.0,),
    units: str = "meV",
    same_level: bool = False,
    n_workers: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure models against true energies, and forces where there are any, side by side.

    >>> ekd.evaluate(["run", "other/student.pt"], "test.h5", output="evaluation")  # doctest: +SKIP

    Args:
        models: one or several, or a mapping of names to them: paths (output folder of a run, folder
            of an ensemble, checkpoint, exported file), trained models, ensembles,
            :class:`ekd.ASETeacher`.
        data: one or several, or a mapping of names to them: datasets, paths, or
            :class:`ekd.evaluation.SetConfig` with keys and units.
        curves: scans.
        output: folder for all files; predictions in it are used again. None writes nothing.
        windows: of energies above the lowest conformer that get rows, kcal/mol.
        units: of tables and plots, ``meV`` or ``kcal/mol``.
        same_level: measure total energies also where model and labels state different levels of
            theory: those are names of one. Otherwise relative energies and forces alone are.
        n_workers: processes; None: one per core, if the work is worth it.
        progress: show a bar on standard error.

    Returns:
        all numbers; in eV, eV/atom and eV/Å whatever ``units`` says.

    Raises:
        ConfigError: nothing to do, or two models or datasets of one name.
        DataError: a file cannot be read.
        EKDError: another process is writing to the output folder, or it cannot be written to.
        StructureError: a model lacks an element of the data.
        TeacherError: a calculator fails.
    """
    opened = open_models(models)
    truths = open_data(data)
    curves = [curves] if isinstance(curves, CurveConfig) else list(curves)
    scans = open_data(curves)
    if not truths and not scans:
        raise ConfigError(
            "there is nothing to measure against; give data or curves", code="EKD-CONFIG-007"
        )
    if units not in ("meV", "kcal/mol"):
        raise ConfigError(
            f"units '{units}' are unknown; use 'meV' or 'kcal/mol'", code="EKD-CONFIG-019"
        )
    with ExitStack() as stack:
        if output is not None:
            stack.enter_context(locked_folder(output))
        folder = (
            Path(output) / "predictions"
            if output is not None
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ekd-")))
        )
        found, seconds = predict_everything(
            opened, [*truths.values(), *scans.values()], folder, n_workers, progress
        )
    by_name = {
        (dataset, model.name): found[m, d]
        for d, dataset in enumerate(truths)
        for m, model in enumerate(opened)
    }
    counting = {
        (name, model.name)
        for name, dataset in truths.items()
        for model in opened
        if _comparable(model, dataset, same_level)
    }
    n_atoms = sum(dataset.n_atoms for dataset in (*truths.values(), *scans.values()))
    infos = [_info(model, m, seconds, n_atoms) for m, model in enumerate(opened)]
    result = Evaluation(
        models=infos,
        datasets=[_describe(name, dataset) for name, dataset in truths.items()],
        rows=_rows(opened, truths, by_name, windows, counting),
        calibrations=_calibrations(opened, truths, by_name, counting),
        curves=[
            curve
            for d, ((name, dataset), config) in enumerate(zip(scans.items(), curves, strict=True))
            for curve in compare_curves(
                name,
                dataset,
                config,
                {model.name: found[m, len(truths) + d] for m, model in enumerate(opened)},
            )
        ],
        notes=_notes(infos, truths, counting),
        windows=list(windows),
        units=units,
        truths=truths,
        predictions=by_name,
        counting=counting,
    )
    if output is not None:
        result.write(output)
    return result


def _rows(
    models: Sequence[EvaluatedModel],
    truths: Mapping[str, Dataset],
    predictions: Mapping[tuple[str, str], ModelPredictions],
    windows: Sequence[float],
    counting: Set[tuple[str, str]],
) -> list[Row]:
    rows = []
    for name, truth in truths.items():
        found = {model.name: predictions[name, model.name] for model in models}
        count = {model for dataset, model in counting if dataset == name}
        rows += _rows_of(name, truth, windows, models, found, count)
    for level, names in _by_level(truths).items():
        if len(names) > 1:
            title = COMBINED if len(_by_level(truths)) == 1 else f"{COMBINED}, {level}"
            joined, joined_predictions = _joined(names, truths, models, predictions)
            count = {model for name, model in counting if name == names[0]}
            rows += _rows_of(title, joined, windows, models, joined_predictions, count, False)
    return rows


def _rows_of(
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

            # Of single members there are no rows by group: there may be thousands of groups.
            if (title := _members_title(model)) and part.kind != "group":
                # Energies and forces apart: of a mixed ensemble only some energies count.
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


def _members_title(model: EvaluatedModel) -> str:
    """What the row of one of several members is called; empty where there is none."""
    if model.n_members < 2 or not isinstance(model, TeacherModel):
        return ""
    prefix, colon, _ = model.name.rpartition(": ")
    name = model.members_name if colon or model.members_name != "member" else f"{model.name}, one"
    return f"{prefix}{colon}{name}"


def _by_level(truths: Mapping[str, Dataset]) -> dict[str, list[str]]:
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
    """Several datasets as one; molecules of the same name in two of them stay apart."""
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


def _calibrations(
    models: Sequence[EvaluatedModel],
    truths: Mapping[str, Dataset],
    predictions: Mapping[tuple[str, str], ModelPredictions],
    counting: Set[tuple[str, str]],
) -> list[CalibrationRow]:
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


def _info(
    model: EvaluatedModel, index: int, seconds: Mapping[tuple[int, int], float], n_atoms: int
) -> ModelInfo:
    total = sum(value for (m, _), value in seconds.items() if m == index)
    return ModelInfo(
        name=model.name,
        kind=model.kind,
        level_of_theory=model.level_of_theory,
        use_energies=model.use_energies,
        n_members=model.n_members,
        members_name=_members_title(model),
        sha256=model.sha256,
        seconds=total,
        microseconds_per_atom=1e6 * total / n_atoms,
    )


def _describe(name: str, data: Dataset) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        path=data.provenance.path,
        sha256=data.provenance.sha256,
        level_of_theory=data.provenance.level_of_theory,
        n_configs=len(data),
        n_atoms=data.n_atoms,
        n_groups=len(np.unique(data.groups)),
        n_dropped=data.provenance.n_dropped,
        has_forces=data.forces is not None,
        elements=data.elements,
    )


def _comparable(model: EvaluatedModel, truth: Dataset, same_level: bool) -> bool:
    """Whether total energies are at one level of theory, as far as it is known."""
    if not model.use_energies:
        return False
    learned, labels = model.level_of_theory, truth.provenance.level_of_theory
    return same_level or learned in ("", labels)


def _notes(
    models: Sequence[ModelInfo],
    truths: Mapping[str, Dataset],
    counting: Set[tuple[str, str]],
) -> list[str]:
    notes = []
    levels = _by_level(truths)
    for model in models:
        if not model.use_energies:
            notes.append(
                f"{model.name}: its total energies are at another level of theory than the labels "
                "and are not measured; relative energies and forces are."
            )
            continue
        other = [name for name in truths if (name, model.name) not in counting]
        if other:
            labels = dict.fromkeys(truths[name].provenance.level_of_theory for name in other)
            notes.append(
                f"{model.name} learned '{model.level_of_theory}'; the labels of {', '.join(other)} "
                f"are {', '.join(map(repr, labels))}: its total energies are not measured there, "
                "relative energies and forces are. If these are names of one level of theory, say "
                "so with --same-level (same_level = true)."
            )
    without = [name for name, truth in truths.items() if truth.forces is None]
    if without:
        notes.append(f"No true forces in {', '.join(without)}: energies alone are measured.")
    if len(levels) > 1:
        notes.append(
            f"The labels are at {len(levels)} levels of theory: datasets of different levels are "
            "never joined in one row."
        )
    return notes
