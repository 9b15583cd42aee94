"""ASE calculators with error estimates.

ASE defines a fixed set of properties. ``results`` must not hold others, or
:class:`~ase.calculators.singlepoint.SinglePointCalculator` and ``Atoms.get_properties`` fail. Error
estimates are therefore stored separately.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from numpy.typing import NDArray

from ekd.errors import ConfigError

NAMES = ("uncertainty", "forces_std", "energy_std")
"""All error estimates that ekd calculators can have."""


class EstimatingCalculator(Calculator):
    """A calculator with error estimates in addition to its results.

    Attributes:
        error_estimates: error estimates of the last calculation, by name.
            ``uncertainty``: expected error of a force component as predicted by the students,
            (n_atoms), eV/Å.
            ``forces_std``: population standard deviation of a force component over the members,
            ``sqrt(mean |F - mean F|^2 / 3)``, (n_atoms), eV/Å.
            ``energy_std``: population standard deviation of the energy, eV.
        available_estimates: names of the error estimates of this calculator.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.error_estimates: dict[str, float | NDArray[np.float64]] = {}
        self.available_estimates: tuple[str, ...] = ()
        super().__init__(**kwargs)

    def describe(self) -> str:
        """Describe the calculator in messages."""
        return f"this {type(self).__name__}"

    def reset(self) -> None:
        """Clear the results and the error estimates."""
        super().reset()
        self.error_estimates = {}

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return an ASE property or an error estimate by name; calculate it if needed.

        Args:
            name: name of the property or error estimate.
            atoms: the structure; None: the structure of the last calculation.
            allow_calculation: if false, return None when a calculation would be needed.

        Raises:
            PropertyNotImplementedError: the calculator does not provide it.
        """
        wanted = "energy" if name in NAMES else name
        if name in NAMES and name not in self.available_estimates:
            self._refuse(name)
        value = super().get_property(wanted, atoms, allow_calculation)
        if not self.results:
            self.error_estimates = {}  # they belong to another structure
        if name not in NAMES or value is None:
            return value
        return np.copy(self.error_estimates[name])[()]

    def _refuse(self, name: str) -> NoReturn:
        has = ", ".join(self.available_estimates) or "none"
        raise PropertyNotImplementedError(
            f"{self.describe()} has no {name}; its error estimates: {has}. Committees have "
            "forces_std and energy_std, students of at least two teachers have uncertainty"
        )

    def store_error_estimates(
        self, atoms: Atoms, per_atom: Literal["arrays", "info"] = "arrays"
    ) -> None:
        """Store the error estimates in a structure, so that they are written with it.

        Extended XYZ files contain ``atoms.arrays`` and ``atoms.info``, ASE trajectories only
        ``atoms.info``. In MD, attach this before the writer:

        >>> dyn.attach(calc.store_error_estimates, 10, atoms)  # doctest: +SKIP
        >>> dyn.attach(lambda: atoms.write("md.xyz", append=True), 10)  # doctest: +SKIP

        Args:
            atoms: the structure; it is calculated if it differs from the last one.
            per_atom: where ``uncertainty`` and ``forces_std`` are stored: ``arrays`` or ``info``.
                ``energy_std`` is always stored in ``info``.

        Raises:
            ConfigError: ``per_atom`` has another value.
            PropertyNotImplementedError: the calculator has no error estimates.
        """
        if per_atom not in ("arrays", "info"):
            raise ConfigError(
                f"per_atom is {per_atom!r}; use 'arrays' for extended XYZ, or 'info' for ASE "
                "trajectories",
                code="EKD-CONFIG-019",
            )
        if not self.available_estimates:
            self._refuse(NAMES[0])
        for name in self.available_estimates:
            value = self.get_property(name, atoms)
            if per_atom == "info" or np.ndim(value) == 0:
                atoms.info[name] = value
            else:
                atoms.set_array(name, value)
