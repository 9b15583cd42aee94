"""Teachers: ekd networks and ASE calculators."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from ase.calculators.calculator import Calculator

from ekd.config import TeacherConfig
from ekd.data import Dataset
from ekd.elements import atomic_number, symbol
from ekd.errors import StructureError, TeacherError
from ekd.files import sha256
from ekd.training import Ensemble, TrainedModel
from ekd.training.ensemble import evaluate_models
from ekd.training.predictions import Predictions


class Teacher(Protocol):
    """A model that predicts energies and forces, and has an identity."""

    @property
    def name(self) -> str:
        """Name for display."""

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that determines its predictions, as far as known to ekd."""

    @property
    def use_energies(self) -> bool:
        """Whether its energies are at the level of theory of the data, and used in their mean."""

    def check(self, elements: Sequence[int]) -> None:
        """Check in advance that it supports these atomic numbers."""

    def predict(self, data: Dataset, first: int = 0) -> Predictions:
        """Evaluate configurations, which are numbered from ``first`` in errors."""


@dataclass(frozen=True, eq=False)
class MemberTeacher:
    """An ekd network as a teacher, trained or imported.

    Attributes:
        model: the network.
        use_energies: whether its energies are at the level of theory of the data.
        name: name for display.
    """

    model: TrainedModel
    use_energies: bool = True
    name: str = "network"

    @property
    def sha256(self) -> str:
        """SHA-256 of the network."""
        return self.model.sha256

    def check(self, elements: Sequence[int]) -> None:
        """Check that the network supports the elements of the data.

        Raises:
            StructureError: it lacks an element.
        """
        _check_elements(self.name, self.model.model.elements, elements)

    def predict(self, data: Dataset, first: int = 0) -> Predictions:
        """Evaluate in float64."""
        return self.model.predict(data)


@dataclass(frozen=True, eq=False)
class ASETeacher:
    """An ASE calculator as a teacher; a new one is made for each chunk of configurations.

    >>> teacher = ASETeacher("ase.calculators.emt:EMT", {"asap_cutoff": True})
    >>> teacher.name
    'ase.calculators.emt:EMT asap_cutoff=True'

    Attributes:
        calculator: ``module:Class``, or ``module:function`` of a function that returns a
            calculator.
        arguments: keyword arguments, as plain JSON values.
        files: further keyword arguments that are paths; the contents of the files are part of the
            identity of the teacher.
        elements: symbols of the supported elements, for calculators that do not reject other
            elements themselves; None: no check.
        use_energies: whether its energies are at the level of theory of the data. Only then are
            they used in mean energies; forces are always used.
        folder: folder that is searched first for the module.
        label: name for display; empty: made from the calculator and its arguments.
    """

    calculator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str | os.PathLike[str]] = field(default_factory=dict)
    elements: Sequence[str] | None = None
    use_energies: bool = False
    folder: str | os.PathLike[str] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """``label``, or the calculator and its arguments."""
        files = {key: Path(path).name for key, path in self.files.items()}
        words = [f"{key}={value}" for key, value in {**self.arguments, **files}.items()]
        return self.label or " ".join([self.calculator, *words])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the calculator, its arguments, contents of files, and module version.

        The version is that of the installed package or, for a module without a package, the SHA-256
        of its source.
        """
        try:
            identity = {
                "calculator": self.calculator,
                "arguments": dict(self.arguments),
                "files": {key: sha256(path) for key, path in self.files.items()},
                "version": self.version(),
            }
            return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        except TypeError as error:
            raise TeacherError(
                f"the arguments of the teacher '{self.calculator}' are not plain values ({error}); "
                "give numbers, strings, lists and tables, and objects from a function of your own "
                "that returns the calculator",
                code="EKD-TEACHER-005",
            ) from None
        except OSError as error:
            raise TeacherError(
                f"a file of the teacher '{self.calculator}' cannot be read: {error}; check "
                "the path",
                code="EKD-TEACHER-006",
            ) from None

    def make(self) -> Calculator:
        """Make the calculator.

        Raises:
            TeacherError: the module or class is not found, it does not accept the arguments, or the
                result is not a calculator with energies and forces.
        """
        module = self._module()
        _, _, attribute = self.calculator.partition(":")
        maker = module
        for part in attribute.split("."):
            maker = getattr(maker, part, None)
        if not callable(maker):
            known = [key for key, value in vars(module).items() if isinstance(value, type)]
            raise TeacherError(
                f"module '{module.__name__}' has no class or function '{attribute}'; its classes "
                f"are {', '.join(sorted(known)) or 'none'}",
                code="EKD-TEACHER-002",
            )
        files = {key: os.fspath(path) for key, path in self.files.items()}
        try:
            calculator = maker(**self.arguments, **files)
        except Exception as error:  # third-party code can raise any exception
            raise TeacherError(
                f"'{self.calculator}' cannot be made with the arguments "
                f"{ {**self.arguments, **files} }: {type(error).__name__}: {error}",
                code="EKD-TEACHER-007",
            ) from error
        has = list(getattr(calculator, "implemented_properties", []))
        if not callable(getattr(calculator, "get_forces", None)) or not {"energy", "forces"} <= {
            *has
        }:
            raise TeacherError(
                f"'{self.calculator}' makes a {type(calculator).__name__} that provides "
                f"{', '.join(has) or 'nothing'}; a teacher needs an ASE calculator with energy and "
                "forces",
                code="EKD-TEACHER-003",
            )
        return calculator

    def check(self, elements: Sequence[int]) -> None:
        """Make the calculator once, and check the elements if they are given.

        Raises:
            StructureError: the data contain an element that is not among ``elements``.
            TeacherError: as for :meth:`make`, or a file is missing.
        """
        if self.elements is not None:
            _check_elements(self.name, [atomic_number(s) for s in self.elements], elements)
        self.sha256  # noqa: B018  # reads the files
        self._can_be_made  # noqa: B018

    @cached_property
    def _can_be_made(self) -> bool:
        self.make()
        return True

    def predict(self, data: Dataset, first: int = 0) -> Predictions:
        """Calculate the configurations one by one.

        Raises:
            TeacherError: the calculator fails, or returns forces of a wrong shape.
        """
        calculator = self.make()
        energies = np.empty(len(data))
        forces = np.empty((data.n_atoms, 3))
        for index in range(len(data)):
            atoms = data.atoms(index)
            atoms.calc = calculator
            try:
                energies[index] = atoms.get_potential_energy()
                found = np.asarray(atoms.get_forces())
                if found.shape != atoms.positions.shape:
                    raise ValueError(f"forces of shape {found.shape} for {len(atoms)} atoms")
                forces[data.offsets[index] : data.offsets[index + 1]] = found
            except Exception as error:  # third-party code can raise any exception
                raise TeacherError(
                    f"the teacher '{self.name}' fails on configuration {first + index} "
                    f"({atoms.get_chemical_formula()}): {type(error).__name__}: {error}; leave out "
                    "configurations that it cannot calculate, or use another teacher",
                    code="EKD-TEACHER-009",
                ) from error
        return Predictions(energies, forces)

    def _module(self) -> Any:
        name, colon, attribute = self.calculator.partition(":")
        if not (name and colon and attribute):
            raise TeacherError(
                f"the teacher '{self.calculator}' names no calculator; write 'module:Class', e.g. "
                "'ase.calculators.emt:EMT'",
                code="EKD-TEACHER-004",
            )
        if self.folder is not None and os.fspath(self.folder) not in sys.path:
            sys.path.insert(0, os.fspath(self.folder))
        try:
            return importlib.import_module(name)
        except Exception as error:  # an import runs third-party code
            where = "" if self.folder is None else f" next to the configuration in '{self.folder}',"
            raise TeacherError(
                f"the module '{name}' of the teacher '{self.calculator}' cannot be imported "
                f"({type(error).__name__}: {error}); install its package, or put the module{where} "
                "on PYTHONPATH",
                code="EKD-TEACHER-008",
            ) from error

    def version(self) -> str:
        """Name and version of the module's package, or the SHA-256 of the module's source.

        Raises:
            TeacherError: the module is not found.
        """
        module = self._module()
        package = module.__name__.partition(".")[0]
        distributions = _distributions().get(package, [])
        if distributions:
            return ", ".join(f"{d} {importlib.metadata.version(d)}" for d in sorted(distributions))
        source = getattr(module, "__file__", None)
        return sha256(source) if source and Path(source).is_file() else "unknown"


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return the distribution packages of each module; cached, because this is slow."""
    return importlib.metadata.packages_distributions()


TeacherLike: TypeAlias = "Ensemble | TrainedModel | MemberTeacher | ASETeacher"


def as_teachers(teachers: TeacherLike | Iterable[TeacherLike]) -> list[MemberTeacher | ASETeacher]:
    """Flatten ensembles, and wrap networks.

    Raises:
        TeacherError: an object is not a teacher, or there are none.
    """
    found: list[MemberTeacher | ASETeacher] = []
    if isinstance(teachers, (Ensemble, TrainedModel, MemberTeacher, ASETeacher)):
        teachers = [teachers]
    for teacher in teachers:
        if isinstance(teacher, Ensemble):
            found += [_member(model, len(found) + k) for k, model in enumerate(teacher.members)]
        elif isinstance(teacher, TrainedModel):
            found.append(_member(teacher, len(found)))
        elif isinstance(teacher, (MemberTeacher, ASETeacher)):
            found.append(teacher)
        else:
            raise TeacherError(
                f"a {type(teacher).__name__} is not a teacher; give ensembles, trained models, or "
                "calculators as ekd.ASETeacher('module:Class', {...})",
                code="EKD-TEACHER-010",
            )
    if not found:
        raise TeacherError("there is no teacher; give at least one", code="EKD-TEACHER-001")
    return found


def from_config(section: TeacherConfig) -> MemberTeacher | ASETeacher:
    """Make the teacher described by a section, without making its calculator.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or unfinished.
    """
    if section.checkpoint is not None:
        return MemberTeacher(
            TrainedModel.load(section.checkpoint),
            use_energies=section.use_energies is not False,
            name=section.name or section.checkpoint.name,
        )
    assert section.calculator is not None  # ensured by the section
    return ASETeacher(
        section.calculator,
        section.arguments,
        section.files,
        elements=section.elements,
        use_energies=section.use_energies is True,
        folder=section.folder,
        label=section.name or "",
    )


def predict_all(
    teachers: Sequence[MemberTeacher | ASETeacher], data: Dataset, first: int = 0
) -> list[Predictions]:
    """Evaluate all teachers, in order."""
    members = [teacher for teacher in teachers if isinstance(teacher, MemberTeacher)]
    # Evaluate networks together, because they share neighbor lists.
    together = iter(evaluate_models([teacher.model.in_float64() for teacher in members], data))
    return [
        next(together) if isinstance(teacher, MemberTeacher) else teacher.predict(data, first)
        for teacher in teachers
    ]


def _member(model: TrainedModel, index: int) -> MemberTeacher:
    return MemberTeacher(model, name=f"teacher {index}")


def _check_elements(name: str, known: Sequence[int], wanted: Sequence[int]) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise StructureError(
            f"the data contain {', '.join(map(symbol, unknown))}, but {name} supports only "
            f"{', '.join(map(symbol, sorted(known)))}; leave out those configurations, or the "
            "teacher",
            code="EKD-STRUCTURE-003",
        )
