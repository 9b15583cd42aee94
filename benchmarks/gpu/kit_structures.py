"""Structures of the kit, for the parts in Python. numpy is imported where it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paths import KIT


@dataclass(frozen=True)
class Structure:
    """Atomic numbers, positions and cell (Å), periodic directions."""

    numbers: list[int]
    positions: list[list[float]]
    cell: list[list[float]]
    pbc: list[bool]

    def repeated(self, times: int) -> Structure:
        """Its repetition along every axis."""
        numbers, positions = [], []
        for a in range(times):
            for b in range(times):
                for c in range(times):
                    shift = [
                        sum(n * vector[d] for n, vector in zip((a, b, c), self.cell, strict=True))
                        for d in range(3)
                    ]
                    numbers += self.numbers
                    positions += [
                        [x + s for x, s in zip(position, shift, strict=True)]
                        for position in self.positions
                    ]
        cell = [[times * x for x in vector] for vector in self.cell]
        return Structure(numbers, positions, cell, self.pbc)

    def arrays(self) -> tuple[Any, Any, Any, Any]:
        """Arguments of `ExportedModel.evaluate`."""
        import numpy as np

        return (
            np.array(self.numbers),
            np.array(self.positions),
            np.array(self.cell),
            np.array(self.pbc),
        )


def read(name: str) -> Structure:
    """A structure of the kit."""
    lines = (KIT / "structures" / f"{name}.txt").read_text().splitlines()
    numbers = [float(word) for word in lines[1].split()]
    atoms = [line.split() for line in lines[3:]]
    return Structure(
        [int(words[0]) for words in atoms],
        [[float(word) for word in words[1:]] for words in atoms],
        [numbers[0:3], numbers[3:6], numbers[6:9]],
        [word == "1" for word in lines[2].split()],
    )
