"""``ekd.evaluate``: comparison of models with reference data."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ekd.data import Dataset
from ekd.errors import ConfigError
from ekd.evaluation.curves import compare_curves
from ekd.evaluation.error_rows import by_level, calibration_rows, error_rows, members_title
from ekd.evaluation.evaluation_files import write_evaluation
from ekd.evaluation.evaluation_results import DatasetInfo, Evaluation, ModelInfo
from ekd.evaluation.evaluation_settings import CurveConfig
from ekd.evaluation.models import EvaluatedModel
from ekd.evaluation.sources import DataLike, ModelLike, open_data, open_models
from ekd.evaluation.stored_predictions import predict_everything
from ekd.locks import locked_folder


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
    vector_plots: bool = False,
) -> Evaluation:
    """Compare models with true energies and, if available, forces.

    >>> ekd.evaluate(["run", "other/student.pt"], "test.h5", output="evaluation")  # doctest: +SKIP

    Args:
        models: one or several models, or a mapping from names to models: paths (output folder of a
            run, folder of an ensemble, checkpoint, exported file), trained models, ensembles,
            :class:`ekd.ASETeacher`.
        data: one or several datasets, or a mapping from names to datasets: datasets, paths, or
            :class:`ekd.evaluation.SetConfig` with keys and units.
        curves: scans.
        output: folder for all files; existing predictions in it are reused. None: write no files.
        windows: energy windows above the lowest conformer with separate errors, kcal/mol.
        units: energy unit of tables and plots, ``meV`` or ``kcal/mol``.
        same_level: treat differently named levels of theory of models and labels as the same.
            Otherwise, only relative energies and forces are compared in this case.
        n_workers: number of processes; None: ``EKD_WORKERS`` or one per core, or one for few tasks.
        progress: show a progress bar on standard error.
        vector_plots: write the plots as PDF and SVG too.

    Returns:
        All results, in eV, eV/atom and eV/Å, independent of ``units``.

    Raises:
        ConfigError: there is nothing to do, or two models or datasets have the same name.
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
    _check_units(units)
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
    scanned = [
        {model.name: found[m, len(truths) + d] for m, model in enumerate(opened)}
        for d in range(len(scans))
    ]
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
        rows=error_rows(opened, truths, by_name, windows, counting),
        calibrations=calibration_rows(opened, truths, by_name, counting),
        curves=[
            curve
            for (name, scan), config, of_models in zip(scans.items(), curves, scanned, strict=True)
            for curve in compare_curves(name, scan, config, of_models)
        ],
        notes=_notes(infos, truths, counting),
        windows=list(windows),
        units=units,
        truths=truths,
        predictions=by_name,
        counting=counting,
    )
    if output is not None:
        write_evaluation(result, output, vector_plots)
    return result


def _check_units(units: str) -> None:
    if units not in ("meV", "kcal/mol"):
        raise ConfigError(
            f"units '{units}' are unknown; use 'meV' or 'kcal/mol'", code="EKD-CONFIG-019"
        )


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
        members_name=members_title(model),
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
    """Whether total energies are at the same level of theory, as far as known."""
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
    levels = by_level(truths)
    for model in models:
        if not model.use_energies:
            notes.append(
                f"{model.name}: its total energies are at another level of theory than the labels "
                "and are not compared; relative energies and forces are."
            )
            continue
        other = [name for name in truths if (name, model.name) not in counting]
        if other:
            labels = dict.fromkeys(truths[name].provenance.level_of_theory for name in other)
            notes.append(
                f"{model.name} was trained on '{model.level_of_theory}'; the labels of "
                f"{', '.join(other)} are {', '.join(map(repr, labels))}: its total energies are "
                "not compared there, relative energies and forces are. If these are names of the "
                "same level of theory, add --same-level (same_level = true)."
            )
    without = [name for name, truth in truths.items() if truth.forces is None]
    if without:
        notes.append(f"No true forces in {', '.join(without)}: only energies are compared.")
    if len(levels) > 1:
        notes.append(
            f"The labels are at {len(levels)} levels of theory: datasets at different levels are "
            "never combined in one row."
        )
    return notes
