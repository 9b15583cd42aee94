"""ASE calculators for all models; networks and ensembles are exported first."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ekd.calculator import EKDCalculator
from ekd.distillation.teachers import ASETeacher, MemberTeacher
from ekd.error_estimates import EstimatingCalculator
from ekd.errors import ConfigError
from ekd.evaluation.models import EvaluatedModel, FileModel, TeacherModel
from ekd.evaluation.sources import ModelLike, open_models
from ekd.inference import ExportedModel
from ekd.training import Ensemble


class MeanCalculator(EstimatingCalculator):
    """The mean of several calculators, with their spread as an error estimate.

    ``error_estimates["forces_std"]`` (n_atoms, eV/Å) is the population standard deviation of a
    force component, and ``error_estimates["energy_std"]`` (eV) that of the energy, as for exported
    committees. It can be pickled and copied if its calculators can.

    Args:
        calculators: calculators with energy and forces.
        energies: indices of the calculators whose energies are used; None: all.
    """

    name = "ekd-mean"

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(
        self,
        calculators: Sequence[Calculator],
        energies: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.calculators = list(calculators)
        self.counting = list(range(len(self.calculators)) if energies is None else energies)
        self.available_estimates = ("forces_std", "energy_std")

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Return names and parameters of the calculators, for ASE databases and trajectories."""
        return {
            "calculators": [
                {"name": one.name, "parameters": one.todict()} for one in self.calculators
            ],
            "energies": self.counting,
        }

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate all calculators."""
        self.results, self.error_estimates = {}, {}
        super().calculate(atoms, properties, system_changes)
        energies, forces = [], []
        for calculator in self.calculators:
            calculator.calculate(self.atoms, ["energy", "forces"], all_changes)
            energies.append(float(calculator.results["energy"]))
            forces.append(np.asarray(calculator.results["forces"], dtype=float))
        counting = np.array(energies)[self.counting]
        self.results = {"energy": float(counting.mean()), "forces": np.mean(forces, axis=0)}
        self.error_estimates = {
            "forces_std": np.sqrt(np.var(forces, axis=0).mean(axis=-1)),
            "energy_std": float(counting.std()),
        }


def as_calculator(model: ModelLike) -> Calculator:
    """Return an ASE calculator for one model; for an ensemble, the mean and spread of its members.

    >>> atoms.calc = ekd.as_calculator(ekd.load_ensemble("run/teachers"))  # doctest: +SKIP

    Networks use the kernels of exported files, in float64. The calculator keeps the model in
    memory, so it can be pickled and copied without a file.

    Args:
        model: an ensemble, a trained model, :class:`ekd.ASETeacher`, or a path: exported file,
            checkpoint, or folder of an ensemble such as ``run/teachers``.

    Raises:
        ConfigError: the path contains several models, e.g. a run.
        EKDError: as for :func:`ekd.evaluate`.
    """
    opened = open_models(model)
    if len(opened) > 1:
        raise ConfigError(
            f"these are several models ({', '.join(one.name for one in opened)}); name one, e.g. "
            "'run/teachers' or 'run/student'",
            code="EKD-CONFIG-016",
        )
    with tempfile.TemporaryDirectory(prefix="ekd-") as folder:
        return _in_memory(make_calculator(opened[0], Path(folder)), Path(folder), opened[0].name)


def _in_memory(calculator: Calculator, folder: Path, name: str) -> Calculator:
    """Return a calculator that does not use files in a folder that will be removed."""
    if isinstance(calculator, MeanCalculator):
        parts = [
            _in_memory(part, folder, f"{name} {k}") for k, part in enumerate(calculator.calculators)
        ]
        return MeanCalculator(parts, calculator.counting)
    if isinstance(calculator, EKDCalculator) and Path(calculator.model.path).parent == folder:
        content = Path(calculator.model.path).read_bytes()
        skin = calculator.model.neighbors.skin
        return EKDCalculator.of(ExportedModel.from_content(content, name, skin=skin))
    return calculator


def make_calculator(model: EvaluatedModel, folder: Path) -> Calculator:
    """Make a calculator for an opened model; exported files are written to the folder."""
    if (path := as_file(model, folder)) is not None:
        return EKDCalculator(path)
    assert isinstance(model, TeacherModel)
    parts = [
        teacher.make()
        if isinstance(teacher, ASETeacher)
        else make_calculator(TeacherModel(teacher.name, (teacher,)), folder)
        for teacher in model.teachers
    ]
    if len(parts) == 1:
        return parts[0]
    counting = [k for k, teacher in enumerate(model.teachers) if teacher.use_energies]
    return MeanCalculator(parts, counting or None)


def as_file(model: EvaluatedModel, folder: Path) -> Path | None:
    """Return the exported file of a model, written to the folder if missing; None if impossible.

    It is impossible for ASE calculators, and for networks with different architectures or elements.
    """
    if isinstance(model, FileModel):
        return model.path
    assert isinstance(model, TeacherModel)
    networks = [t.model for t in model.teachers if isinstance(t, MemberTeacher)]
    kinds = {(n.model_config.model_dump_json(), tuple(n.model.elements)) for n in networks}
    if len(networks) < len(model.teachers) or len(kinds) > 1:
        return None
    path = folder / f"{model.sha256[:24]}.pt"
    if not path.exists():
        Ensemble(networks).export(path)
    return path
