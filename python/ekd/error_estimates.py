"""Calculators of ASE that tell how far their predictions may be off.

ASE knows a fixed set of properties; ``results`` must hold no others, or
:class:`~ase.calculators.singlepoint.SinglePointCalculator` and ``Atoms.get_properties`` fail. Error
estimates therefore have a place of their own.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from numpy.typing import NDArray

from ekd.errors import ConfigError

NAMES = ("uncertainty", "forces_std", "energy_std")
"""All error estimates that a calculator of ekd can have."""


class EstimatingCalculator(Calculator):
    """A calculator with error estimates beside its results.

    Attributes:
        error_estimates: those of the last calculation, by name, as ``results`` holds the
            properties. ``uncertainty``: (n_atoms) eV/Å, the error of a force component that
            students expect, as they have learned it from their teachers. ``forces_std``: (n_atoms)
            eV/Å, the population standard deviation of a force component over members,
            ``sqrt(mean |F - mean F|^2 / 3)``.
            ``energy_std``: eV, that of the energy.
        available_estimates: names of those that this calculator has.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.error_estimates: dict[str, float | NDArray[np.float64]] = {}
        self.available_estimates: tuple[str, ...] = ()
        super().__init__(**kwargs)

    def describe(self) -> str:
        """What the calculator is, for messages."""
        return f"this {type(self).__name__}"

    def reset(self) -> None:
        """Forget the results and the error estimates."""
        super().reset()
        self.error_estimates = {}

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property of ASE, or an error estimate by its name; calculate it if needed.

        Args:
            name: of the property or the error estimate.
            atoms: the structure; None: that of the last calculation.
            allow_calculation: otherwise None is returned where a calculation is needed.

        Raises:
            PropertyNotImplementedError: the calculator does not have it.
        """
        wanted = "energy" if name in NAMES else name
        if name in NAMES and name not in self.available_estimates:
            self._refuse(name)
        value = super().get_property(wanted, atoms, allow_calculation)
        if not self.results:
            self.error_estimates = {}  # of another structure
        if name not in NAMES or value is None:
            return value
        return np.copy(self.error_estimates[name])[()]

    def _refuse(self, name: str) -> NoReturn:
        has = ", ".join(self.available_estimates) or "none"
        raise PropertyNotImplementedError(
            f"{self.describe()} has no {name}; its error estimates: {has}. A committee has "
            "forces_std and energy_std, a student of two teachers or more its uncertainty"
        )

    def store_error_estimates(
        self, atoms: Atoms, per_atom: Literal["arrays", "info"] = "arrays"
    ) -> None:
        """Store the error estimates in a structure, so that they are written with it.

        Extended XYZ writes ``atoms.arrays`` and ``atoms.info``. The trajectory format of ASE
        writes ``atoms.info`` alone. In MD, attach this before the writer:

        >>> dyn.attach(calc.store_error_estimates, 10, atoms)  # doctest: +SKIP
        >>> dyn.attach(lambda: atoms.write("md.xyz", append=True), 10)  # doctest: +SKIP

        Args:
            atoms: the structure; it is calculated if it is not the last one.
            per_atom: where ``uncertainty`` and ``forces_std`` go: ``arrays`` or ``info``.
                ``energy_std`` always goes to ``info``.

        Raises:
            ConfigError: another value of ``per_atom``.
            PropertyNotImplementedError: the calculator has no error estimates.
        """
        if per_atom not in ("arrays", "info"):
            raise ConfigError(
                f"per_atom is {per_atom!r}; use 'arrays' for extended XYZ, or 'info' for "
                "trajectories of ASE",
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
