"""Results of an evaluation: errors, calibrations and scans, with their models and datasets."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from ekd.data import Dataset
from ekd.evaluation.accuracy import Errors
from ekd.evaluation.calibration import Calibration
from ekd.evaluation.curves import Curve
from ekd.evaluation.models import ModelPredictions


@dataclass(frozen=True)
class Row:
    """Errors of one model for one quantity in one slice of one dataset.

    Attributes:
        dataset: name of the dataset.
        level_of_theory: level of theory of its labels; different levels are never combined.
        slice_kind: ``all``, ``window``, ``group`` or ``element``.
        slice_name: name of the window, group or element.
        n_configs: number of configurations in the slice.
        model: name of the model, or of its individual members, whose errors are averaged.
        quantity: see :data:`ekd.evaluation.accuracy.QUANTITIES`.
        errors: errors in eV, eV/atom or eV/Å.
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
    """Comparison of the error estimates of a model with its errors.

    Attributes:
        dataset: name of the dataset.
        level_of_theory: level of theory of its labels.
        model: name of the model.
        quantity: ``force`` (component, per atom) or ``energy_per_atom``.
        estimate: error estimate: ``spread`` of the members of the model, or the learned
            ``uncertainty``.
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
    """Information about a model.

    Attributes:
        name: name for display.
        kind: network, mean of several, exported file or calculator.
        level_of_theory: level of theory of its training data; empty if unknown.
        use_energies: whether total energies are compared.
        n_members: number of models that are averaged.
        members_name: name of the individual members in tables; empty if they have no rows.
        sha256: SHA-256 of the model.
        seconds: time of all predictions on one core, s, measured when they were made.
        microseconds_per_atom: time per atom for energy and forces, µs.
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
    """Information about a dataset."""

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
    """The results of :func:`ekd.evaluate`. :func:`ekd.write_evaluation` writes them to files.

    Attributes:
        models: the models, in order.
        datasets: the datasets, in order.
        rows: all errors.
        calibrations: calibrations of models with several members or an uncertainty output.
        curves: scans.
        notes: notes for the reader.
        windows: energy windows, kcal/mol.
        units: energy unit of tables and plots, ``meV`` or ``kcal/mol``.
        truths: reference data by name.
        predictions: predictions by names of dataset and model.
        counting: pairs of dataset and model for which total energies are compared.
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
        """Return rows with all of these properties; None: any."""
        return [
            row
            for row in self.rows
            if dataset in (None, row.dataset)
            and model in (None, row.model)
            and quantity in (None, row.quantity)
            and kind in (None, row.slice_kind)
        ]
