"""What is evaluated: networks, ensembles, calculators of ASE and exported files, in one way."""

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
    """What a model says about a dataset.

    Attributes:
        energies: [n_configs] eV; of several members their mean.
        forces: [n_atoms, 3] eV/Å; of several members their mean.
        energies_std: population standard deviation over members, [n_configs] eV; None: one member.
        forces_std: that of a force component, ``sqrt(mean |F - mean F|^2 / 3)``, [n_atoms] eV/Å.
        member_energies: [n_members, n_configs] eV; None: one member, or not known.
        member_forces: [n_members, n_atoms, 3] eV/Å.
        uncertainty: the error of a force component that students expect, as they have
            learned it from their teachers, [n_atoms] eV/Å; of several members their mean. None: not
            learned.
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
        """For people."""

    @property
    def sha256(self) -> str:
        """Of everything that determines its predictions, as far as ekd can know."""

    @property
    def kind(self) -> str:
        """What it is, in words."""

    @property
    def level_of_theory(self) -> str:
        """That of the energies it learned from, as its file states it; empty: not known."""

    @property
    def use_energies(self) -> bool:
        """Whether errors of its total energies mean anything: levels of theory are the same."""

    @property
    def n_members(self) -> int:
        """Models whose mean it is."""

    @property
    def atoms_per_task(self) -> int:
        """Atoms that are evaluated between two saves."""

    def check(self, elements: Sequence[int]) -> None:
        """Find out, before any work is done, whether it can work on these atomic numbers."""

    def predict(self, data: Dataset, first: int = 0) -> ModelPredictions:
        """Evaluate configurations, which errors count from ``first``."""


@dataclass(frozen=True, eq=False)
class TeacherModel:
    """One teacher or student, or the mean of several: networks of ekd and calculators of ASE.

    Attributes:
        name: for people.
        teachers: the members.
        members_name: what one of several members is called.
    """

    name: str
    teachers: tuple[MemberTeacher | ASETeacher, ...]
    members_name: str = "member"

    @cached_property
    def sha256(self) -> str:
        """Of the members, and of which energies count."""
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
        """Of the data that the networks were trained on."""
        levels = [
            teacher.model.provenance.get("data", {}).get("level_of_theory", "")
            for teacher in self.teachers
            if isinstance(teacher, MemberTeacher) and teacher.use_energies
        ]
        return " / ".join(dict.fromkeys(filter(None, levels)))

    @property
    def use_energies(self) -> bool:
        """Whether those of at least one member count."""
        return any(teacher.use_energies for teacher in self.teachers)

    @property
    def n_members(self) -> int:
        """Number of teachers."""
        return len(self.teachers)

    @property
    def atoms_per_task(self) -> int:
        """Calculators of others may take seconds for a configuration."""
        slow = any(isinstance(teacher, ASETeacher) for teacher in self.teachers)
        return 2_000 if slow else max(2_000, 40_000 // len(self.teachers))

    def check(self, elements: Sequence[int]) -> None:
        """Ask every member.

        Raises:
            StructureError: one does not know an element.
            TeacherError: a calculator cannot be made.
        """
        for teacher in self.teachers:
            teacher.check(elements)

    def predict(self, data: Dataset, first: int = 0) -> ModelPredictions:
        """Evaluate in float64, many configurations at a time where networks allow it."""
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
        # Without any that count, relative energies are still of use.
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
        name: for people.
        path: of the file.
        use_energies: whether its energies are at the level of theory of the data.
    """

    name: str
    path: Path
    use_energies: bool = True

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return sha256(self.path)

    @cached_property
    def metadata(self) -> ModelMetadata:
        """What the file says about itself."""
        return read_metadata(self.path)

    @property
    def kind(self) -> str:
        """Exported student, or committee."""
        n = self.metadata.n_members
        return "exported file" if n == 1 else f"exported committee of {n}"

    @property
    def level_of_theory(self) -> str:
        """Of the data that the students were trained on."""
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
        """Its kernels are fast."""
        return 40_000

    def check(self, elements: Sequence[int]) -> None:
        """Compare the elements.

        Raises:
            ModelFileError: the file cannot be used.
            StructureError: the model lacks an element.
        """
        unknown = sorted(set(elements) - set(self.metadata.atomic_numbers))
        if unknown:
            raise StructureError(
                f"the data hold {', '.join(map(symbol, unknown))}, but '{self.path}' knows only "
                f"{', '.join(self.metadata.elements)}; leave out those configurations, or the "
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
