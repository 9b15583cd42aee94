"""ASE calculator for an exported student or committee."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ekd.error_estimates import NAMES, EstimatingCalculator
from ekd.errors import ConfigError, ExtrapolationWarning, StructureError
from ekd.inference import ClosePair, ExportedModel


class EKDCalculator(EstimatingCalculator):
    """Energy, atomic energies, forces and stress of an exported model, for ASE.

    >>> atoms.calc = EKDCalculator("student.pt")  # doctest: +SKIP

    The stress is available for structures with a three-dimensional cell. For a file with several
    students, the results are their mean, and their spread is available as
    ``error_estimates["forces_std"]`` and ``error_estimates["energy_std"]``. Students that were
    trained to predict the error of their forces provide ``error_estimates["uncertainty"]``. See
    :class:`ekd.error_estimates.EstimatingCalculator`.

    If two atoms are closer than any pair of the same elements in the training data of the model, an
    :class:`ekd.errors.ExtrapolationWarning` is issued, once for each pair of elements.

    ``parameters`` holds ``model`` (absolute path), ``sha256`` (of the file), ``device``, ``block``
    and ``skin``. ASE databases and trajectories record them, and ``EKDCalculator(**parameters)``
    recreates the calculator. Change them with :meth:`set`, e.g. ``set(skin=1.0)``. A calculator can
    be copied, pickled and sent to other processes; the file is then read again.

    Args:
        model: path of the exported file.
        device: "cpu", "cuda" or "cuda:N", as for :class:`ekd.inference.ExportedModel`.
        skin: distance beyond the cutoff within which pairs are stored between steps, Å. The
            neighbor list is rebuilt only when an atom has moved by more than half the skin. The
            skin changes results only by rounding.
        block: number of atoms to evaluate at a time, which limits the memory; 0: as many as fit
            into the memory of a workstation.
        sha256: SHA-256 that the file must have, as 64 hexadecimal digits printed by ``ekd
            inspect``; None: any. It is checked before the file is used.

    Raises:
        ConfigError: an unknown parameter.
        EKDError: the device cannot be used, ``block`` is negative, or ``sha256`` is not
            hexadecimal.
        ModelFileError: the file cannot be used, or has another SHA-256.
        StructureError: ``skin`` is negative; on calculation: no atoms, atoms on top of each other,
            or an element that the model does not support.
    """

    name = "ekd"

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}
    atoms: Atoms | None
    _former: Atoms | None = None  # last calculated structure

    def __init__(
        self,
        model: str | os.PathLike[str],
        device: str = "cpu",
        skin: float = 0.5,
        block: int = 0,
        sha256: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._use(ExportedModel(model, device, block, skin, sha256))

    @classmethod
    def of(cls, model: ExportedModel) -> EKDCalculator:
        """Make a calculator for an open model."""
        calculator = cls.__new__(cls)
        EstimatingCalculator.__init__(calculator)
        calculator._use(model)
        return calculator

    def _use(self, model: ExportedModel) -> None:
        self.model = model
        self._warned: set[tuple[str, str]] = set()  # pairs of elements
        several, learned = model.metadata.n_members > 1, model.metadata.uncertainty
        there = {"uncertainty": learned, "forces_std": several, "energy_std": several}
        self.available_estimates = tuple(name for name in NAMES if there[name])
        self.parameters.update(
            model=model.location or model.path,
            sha256=model.sha256,
            device=str(model.device),
            block=model.block,
            skin=model.neighbors.skin,
        )
        self.reset()

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change ``model``, ``device``, ``block`` or ``skin``, and reset the results.

        Returns:
            The changed parameters.

        Raises:
            ConfigError: an unknown parameter.
            EKDError: as for the class.
        """
        known = ("model", "device", "block", "skin")
        unknown = ", ".join(f"'{name}'" for name in kwargs if name not in known)
        if unknown:
            raise ConfigError(
                f"EKDCalculator has no parameter {unknown} to set; use {', '.join(known)}",
                code="EKD-CONFIG-005",
            )
        before = dict(self.parameters)
        if all(name != "model" and before[name] == new for name, new in kwargs.items()):
            return {}
        settings = {name: kwargs.get(name, before[name]) for name in ("device", "block", "skin")}
        if "model" in kwargs:
            self._use(ExportedModel(kwargs["model"], **settings))
        else:
            self._use(self.model.with_settings(**settings))
        return {name: new for name, new in self.parameters.items() if new != before[name]}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return the inputs of the model that have changed since the last calculation.

        The method of ASE takes several times longer than the evaluation of a small molecule.
        """
        if self.atoms is None or len(self.atoms) != len(atoms) or tol != 1e-15:
            changes: list[str] = super().check_state(atoms, tol)
            return changes
        return _differences(self.atoms, atoms)

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """See :meth:`ekd.error_estimates.EstimatingCalculator.get_property`."""
        self._former = self.atoms or self._former
        return super().get_property(name, atoms, allow_calculation)

    def describe(self) -> str:
        """Return the quoted path of the model."""
        return f"'{self.model.path}'"

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate all properties in one pass through the model."""
        self.results, self.error_estimates = {}, {}
        former = self.atoms or self._former
        if atoms is not None and former and _differences(former, atoms) == ["positions"]:
            self.atoms = _moved(former, atoms)
        else:
            super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise StructureError(
                "there is no structure to calculate; give atoms", code="EKD-STRUCTURE-001"
            )
        results = self.model.evaluate(
            self.atoms.numbers, self.atoms.positions, self.atoms.cell.array, self.atoms.pbc
        )
        self.results = {
            "energy": results.energy,
            "free_energy": results.energy,
            "energies": results.atomic_energies,
            "forces": results.forces,
        }
        if self.atoms.cell.rank == 3:
            stress = -results.virial / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        self.error_estimates = {name: getattr(results, name) for name in self.available_estimates}
        for pair in results.close_pairs:
            if pair.elements not in self._warned:
                self._warned.add(pair.elements)
                warnings.warn(_extrapolation(pair, self.describe()), ExtrapolationWarning, 2)


def _extrapolation(pair: ClosePair, model: str) -> str:
    (i, j), (a, b) = pair.atoms, pair.elements
    there = (
        "has no such pair within the cutoff"
        if math.isinf(pair.training_distance)
        else f"has none closer than {pair.training_distance:.4g} Å"
    )
    return (
        f"atoms {i} ({a}) and {j} ({b}) are {pair.distance:.4g} Å apart, and the training data of "
        f"{model} {there}: energies and forces are extrapolated; check the structure, or add such "
        "structures to the training data"
    )


def _moved(former: Atoms, now: Atoms) -> Atoms:
    """Copy ``now``, sharing unchanged arrays with ``former``.

    ``Atoms.copy`` takes longer than the forces of a small molecule.
    """
    copy = Atoms.__new__(Atoms)
    copy.__dict__.update(former.__dict__)
    copy.arrays = {**former.arrays, "positions": now.positions.copy()}
    copy.info, copy.constraints = dict(now.info), now.constraints
    return copy


def _differences(before: Atoms, now: Atoms) -> list[str]:
    """Names of the inputs of a model that are not bitwise equal."""
    pairs = {
        "positions": (before.positions, now.positions),
        "numbers": (before.numbers, now.numbers),
        "cell": (before.cell.array, now.cell.array),
        "pbc": (before.pbc, now.pbc),
    }
    return [name for name, (a, b) in pairs.items() if a.tobytes() != b.tobytes()]
