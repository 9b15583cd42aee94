"""Results of an evaluation: errors, calibrations, scans, and what they belong to."""

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
    """The results of :func:`ekd.evaluate`. :func:`ekd.write_evaluation` makes files of them.

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
