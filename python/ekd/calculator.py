"""ASE calculator: an exported student or committee, from its file alone."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ekd.inference import ExportedModel


class EKDCalculator(Calculator):
    """Energy, atomic energies, forces and stress of an exported model, for ASE.

    >>> atoms.calc = EKDCalculator("student.pt")  # doctest: +SKIP

    The stress is there for structures with a three-dimensional cell. A file with several students
    gives their mean, and as ``results["forces_std"]`` (n_atoms, eV/Å) and
    ``results["energy_std"]`` (eV) their spread. Students that have learned how far their teachers
    disagree tell it as ``results["uncertainty"]`` (n_atoms, eV/Å). See
    :class:`ekd.inference.Results`.

    Args:
        model: path of the exported file.
        device: torch device to evaluate on.
        skin: Å; pairs this much beyond the cutoff are remembered from step to step, and found anew
            only when an atom has moved further than half of it. It changes results by no more than
            rounding.

    Raises:
        ModelFileError: the file cannot be used.
        StructureError: a negative skin; on calculation: no atoms, atoms on top of each other, an
            element that the model lacks.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    def __init__(
        self,
        model: str | os.PathLike[str],
        device: str = "cpu",
        skin: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.model = ExportedModel(model, device, skin=skin)
        more = ["energy_std", "forces_std"] if self.model.metadata.n_members > 1 else []
        more += ["uncertainty"] if self.model.metadata.uncertainty else []
        self.implemented_properties = [*self.implemented_properties, *more]  # type: ignore[misc]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate all properties at once: they come from one pass through the model."""
        super().calculate(atoms, properties, system_changes)
        results = self.model.evaluate(
            self.atoms.numbers, self.atoms.positions, self.atoms.cell.array, self.atoms.pbc
        )
        self.results = {
            "energy": results.energy,
            "free_energy": results.energy,
            "energies": results.atomic_energies,
            "forces": results.forces,
        }
        if results.forces_std is not None:
            self.results["forces_std"] = results.forces_std
            self.results["energy_std"] = results.energy_std
        if results.uncertainty is not None:
            self.results["uncertainty"] = results.uncertainty
        if self.atoms.cell.rank == 3:
            stress = -results.virial / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
