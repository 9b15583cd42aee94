"""Species of a model by atomic number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ekd.errors import StructureError


class SpeciesTable:
    """Indices of elements in the elements of a model, looked up for all atoms at once.

    Args:
        atomic_numbers: elements of the model, in its order.
        symbols: their symbols, for messages.
    """

    def __init__(self, atomic_numbers: Sequence[int], symbols: Sequence[str]) -> None:
        self.symbols = symbols
        # By atomic number; -1: not in the model.
        self._species = np.full(max(atomic_numbers) + 2, -1, dtype=np.int64)
        self._species[np.asarray(atomic_numbers)] = np.arange(len(atomic_numbers))
        # Atomic numbers and species of the last structure, which are the same for all steps of MD.
        self._last: tuple[bytes, NDArray[np.int64]] | None = None

    def of_structure(self, atomic_numbers: ArrayLike, path: str) -> NDArray[np.int64]:
        """Return the species of the atoms of a structure, [n_atoms].

        Args:
            atomic_numbers: [n_atoms].
            path: path of the model, for messages.

        Raises:
            StructureError: the model lacks an element.
        """
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        if numbers.ndim != 1:
            raise StructureError(
                f"atomic_numbers have shape {numbers.shape}, expected (n_atoms)",
                code="EKD-STRUCTURE-004",
            )
        key, known = numbers.tobytes(), self._last
        if known is not None and known[0] == key:
            return known[1]
        species = self.look_up(numbers)
        if (species < 0).any():
            self.refuse("the structure", numbers[species < 0], path)
        species.setflags(write=False)
        self._last = key, species
        return species

    def look_up(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the species of atomic numbers; -1: not in the model."""
        # The last entry of the table stands for all numbers beyond it, and below zero.
        last = len(self._species) - 1
        return self._species[np.where((numbers >= 0) & (numbers < last), numbers, last)]

    def refuse(self, structure: str, numbers: NDArray[np.int64], path: str) -> NoReturn:
        """Raise the error for a structure with elements that the model lacks.

        Args:
            structure: name of the structure in the message.
            numbers: atomic numbers that are not in the model.
            path: path of the model.

        Raises:
            StructureError: always.
        """
        from ekd.elements import symbol  # imports ASE

        raise StructureError(
            f"{structure} contains {', '.join(symbol(z) for z in sorted(set(numbers.tolist())))}, "
            f"but the model '{path}' supports only {', '.join(self.symbols)}; use a model that was "
            "trained on every element of the structure",
            code="EKD-STRUCTURE-003",
        )
