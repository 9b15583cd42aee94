"""Common interface of evaluated models: networks, ensembles, ASE calculators, exported files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.distillation.teachers import ASETeacher, MemberTeacher, predict_all
from ekd.elements import symbol
from ekd.errors import StructureError
from ekd.files import sha256
from ekd.inference import ExportedModel, ModelMetadata, read_metadata
from ekd.training.ensemble import mean_uncertainty

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ModelPredictions:
    """Predictions of a model for a dataset.

    Attributes:
        energies: energies, mean over members, [n_configs] eV.
        forces: forces, mean over members, [n_atoms, 3] eV/Å.
        energies_std: population standard deviation over members, [n_configs] eV; None for one
            member.
        forces_std: population standard deviation of a force component,
            ``sqrt(mean |F - mean F|^2 / 3)``, [n_atoms] eV/Å; None for one member.
        member_energies: energies of the members, [n_members, n_configs] eV; None for one member, or
            if unknown.
        member_forces: forces of the members, [n_members, n_atoms, 3] eV/Å, or None.
        uncertainty: expected error of a force component as predicted by students, mean over
            members, [n_atoms] eV/Å; None if the model does not predict it.
    """

    energies: Array
    forces: Array
    energies_std: Array | None = None
    forces_std: Array | None = None
    member_energies: Array | None = None
    member_forces: Array | None = None
    uncertainty: Array | None = None


class EvaluatedModel(Protocol):
    """A model under evaluation; it can be sent to worker processes."""

    @property
    def name(self) -> str:
        """Name for display."""

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that determines its predictions, as far as known to ekd."""

    @property
    def kind(self) -> str:
        """Kind of model, for display."""

    @property
    def level_of_theory(self) -> str:
        """Level of theory of its training data, as stated in its file; empty if unknown."""

    @property
    def use_energies(self) -> bool:
        """Whether its total energies are at the level of theory of the data."""

    @property
    def n_members(self) -> int:
        """Number of models that are averaged."""

    @property
    def atoms_per_task(self) -> int:
        """Number of atoms to evaluate between saves."""

    def check(self, elements: Sequence[int]) -> None:
        """Check in advance that it supports these atomic numbers."""

    def predict(self, data: Dataset, first: int = 0) -> ModelPredictions:
        """Evaluate configurations, which are numbered from ``first`` in errors."""


@dataclass(frozen=True, eq=False)
class TeacherModel:
    """A teacher or student, or the mean of several: ekd networks and ASE calculators.

    Attributes:
        name: name for display.
        teachers: the members.
        members_name: name of an individual member.
    """

    name: str
    teachers: tuple[MemberTeacher | ASETeacher, ...]
    members_name: str = "member"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the members, including whether their energies are used."""
        identity = [f"{teacher.sha256} {teacher.use_energies}" for teacher in self.teachers]
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()

    @property
    def kind(self) -> str:
        """Network, calculator, or ensemble."""
        if len(self.teachers) > 1:
            return f"mean of {len(self.teachers)}"
        return "network" if isinstance(self.teachers[0], MemberTeacher) else "ASE calculator"

    @property
    def level_of_theory(self) -> str:
        """Level of theory of the networks' training data."""
        levels = [
            teacher.model.provenance.get("data", {}).get("level_of_theory", "")
            for teacher in self.teachers
            if isinstance(teacher, MemberTeacher) and teacher.use_energies
        ]
        return " / ".join(dict.fromkeys(filter(None, levels)))

    @property
    def use_energies(self) -> bool:
        """Whether the energies of at least one member are used."""
        return any(teacher.use_energies for teacher in self.teachers)

    @property
    def n_members(self) -> int:
        """Number of teachers."""
        return len(self.teachers)

    @property
    def atoms_per_task(self) -> int:
        """Number of atoms between saves; lower for ASE calculators, which may be slow."""
        slow = any(isinstance(teacher, ASETeacher) for teacher in self.teachers)
        return 2_000 if slow else max(2_000, 40_000 // len(self.teachers))

    def check(self, elements: Sequence[int]) -> None:
        """Check all members.

        Raises:
            StructureError: a member does not support an element.
            TeacherError: a calculator cannot be made.
        """
        for teacher in self.teachers:
            teacher.check(elements)

    def predict(self, data: Dataset, first: int = 0) -> ModelPredictions:
        """Evaluate in float64; networks evaluate many configurations at a time."""
        found = predict_all(self.teachers, data, first)
        if len(found) == 1:
            one = found[0]
            return ModelPredictions(one.energies, one.forces, uncertainty=one.uncertainty)
        forces = np.stack([one.forces for one in found])
        counting = [
            one.energies
            for one, teacher in zip(found, self.teachers, strict=True)
            if teacher.use_energies
        ]
        # If no energies are used, relative energies are still useful.
        energies = np.stack(counting or [one.energies for one in found])
        return ModelPredictions(
            energies=energies.mean(0),
            forces=forces.mean(0),
            energies_std=energies.std(0) if len(energies) > 1 else None,
            forces_std=np.sqrt(forces.var(0).mean(-1)),
            member_energies=energies,
            member_forces=forces,
            uncertainty=mean_uncertainty(found),
        )


@dataclass(frozen=True, eq=False)
class FileModel:
    """An exported file, evaluated by the runtime that ASE and LAMMPS use.

    Attributes:
        name: name for display.
        path: path of the file.
        use_energies: whether its energies are at the level of theory of the data.
    """

    name: str
    path: Path
    use_energies: bool = True

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)

    @cached_property
    def metadata(self) -> ModelMetadata:
        """Metadata of the file."""
        return read_metadata(self.path)

    @property
    def kind(self) -> str:
        """Exported file, or exported committee."""
        n = self.metadata.n_members
        return "exported file" if n == 1 else f"exported committee of {n}"

    @property
    def level_of_theory(self) -> str:
        """Level of theory of the students' training data."""
        levels = [
            entry.get("data", {}).get("level_of_theory", "") for entry in self.metadata.provenance
        ]
        return " / ".join(dict.fromkeys(filter(None, levels)))

    @property
    def n_members(self) -> int:
        """Number of students in the file."""
        return self.metadata.n_members

    @property
    def atoms_per_task(self) -> int:
        """Number of atoms between saves."""
        return 40_000

    def check(self, elements: Sequence[int]) -> None:
        """Check the elements.

        Raises:
            ModelFileError: the file cannot be used.
            StructureError: the model lacks an element.
        """
        unknown = sorted(set(elements) - set(self.metadata.atomic_numbers))
        if unknown:
            raise StructureError(
                f"the data contain {', '.join(map(symbol, unknown))}, but '{self.path}' supports "
                f"only {', '.join(self.metadata.elements)}; leave out those configurations, or the "
                "model",
                code="EKD-STRUCTURE-003",
            )

    def predict(self, data: Dataset, first: int = 0) -> ModelPredictions:
        """Evaluate all configurations in one call."""
        found = ExportedModel(self.path).evaluate_arrays(
            data.atomic_numbers, data.positions, data.offsets, data.cells, data.pbc
        )
        return ModelPredictions(
            found.energies,
            found.forces,
            found.energies_std,
            found.forces_std,
            uncertainty=found.uncertainty,
        )
