"""Summary of a pool for users: as a table, and as a JSON file in the same folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ekd.data import Dataset
from ekd.elements import symbol
from ekd.pool.recipe import KINDS

_MESSAGES = 5


@dataclass(frozen=True)
class Count:
    """Configurations of one kind.

    Attributes:
        made: geometries, including missing snapshots of runs that ended early.
        failed: geometries for which the calculator gave no energy or forces.
        too_large: geometries with a force above ``max_force``.
        duplicates: near-duplicates of another one that is kept.
        kept: configurations in the file.
    """

    made: int
    failed: int
    too_large: int
    duplicates: int
    kept: int


@dataclass(frozen=True)
class Summary:
    """Content of a pool; plain JSON types.

    Attributes:
        path: the file.
        fingerprint: fingerprint of its content.
        level_of_theory: the calculator and its arguments.
        n_molecules: number of molecules that geometries were made from.
        n_configs: configurations in the file.
        n_atoms: number of atoms in all configurations.
        elements: number of atoms of every element, by symbol.
        sizes: atoms per configuration: smallest, mean, largest.
        forces: root mean square of a component, and largest norm (eV/Å).
        counts: counts by kind.
        failures: the most common messages of the calculator, with their counts.
    """

    path: str
    fingerprint: str
    level_of_theory: str
    n_molecules: int
    n_configs: int
    n_atoms: int
    elements: dict[str, int]
    sizes: tuple[int, float, int]
    forces: tuple[float, float]
    counts: dict[str, Count]
    failures: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return all fields except path and fingerprint."""
        content = asdict(self)
        del content["path"], content["fingerprint"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], path: str, fingerprint: str) -> Summary:
        """Restore the result of :meth:`to_json`."""
        counts = {kind: Count(**count) for kind, count in content["counts"].items()}
        lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        return cls(path=path, fingerprint=fingerprint, **{**content, **lists, "counts": counts})

    @property
    def n_dropped(self) -> int:
        """Configurations that were made or tried but are not in the file."""
        return sum(count.made - count.kept for count in self.counts.values())

    def table(self) -> Table:
        """Return the counts as a table for the terminal; :attr:`notes` has the rest."""
        table = Table(title=self.path, title_justify="left", caption_justify="left")
        table.add_column("kind", style="bold")
        for name in ("made", "failed", "force too large", "duplicates", "kept"):
            table.add_column(name, justify="right")
        rows = [(kind, asdict(count)) for kind, count in self.counts.items()]
        for kind, count in rows:
            table.add_row(kind, *(f"{number:,}" for number in count.values()))
        total = [sum(numbers) for numbers in zip(*(c.values() for _, c in rows), strict=True)]
        table.add_section()
        table.add_row("all", *(f"{number:,}" for number in total))
        return table

    @property
    def notes(self) -> list[str]:
        """Information that is not in the table, one line each."""
        smallest, mean, largest = self.sizes
        rms, largest_force = self.forces
        elements = ", ".join(f"{name} {number:,}" for name, number in self.elements.items())
        return [
            f"{self.n_configs:,} configurations from {self.n_molecules:,} molecules, "
            f"{self.n_atoms:,} atoms: {elements}",
            f"{smallest} to {largest} atoms per configuration, mean {mean:.1f}",
            f"forces: RMS {rms:.3f}, largest {largest_force:.3f} eV/Å",
            f"calculator: {self.level_of_theory}",
            *(f"{number:,} failed: {message}" for message, number in self.failures.items()),
        ]


def summarise(
    path: str,
    data: Dataset,
    level_of_theory: str,
    n_molecules: int,
    made: NDArray[np.str_],
    dropped: Mapping[str, NDArray[np.bool_]],
    messages: Sequence[str],
) -> Summary:
    """Count the configurations that were made, dropped and kept.

    Args:
        path: the file.
        data: configurations that are kept, with forces.
        level_of_theory: the calculator and its arguments.
        n_molecules: number of molecules that geometries were made from.
        made: [n_made] kinds.
        dropped: masks [n_made] ``failed``, ``too_large`` and ``duplicates``, which do not overlap.
        messages: messages of the calculator, one for each failure.
    """
    assert data.forces is not None
    counts = {}
    for kind in KINDS:
        of_kind = made == kind
        if of_kind.any():
            numbers = {name: int((mask & of_kind).sum()) for name, mask in dropped.items()}
            n_made = int(of_kind.sum())
            counts[kind] = Count(made=n_made, kept=n_made - sum(numbers.values()), **numbers)
    # Ties in alphabetical order.
    common = sorted(Counter(messages).items(), key=lambda item: (-item[1], item[0]))
    sizes = data.n_atoms_per_config
    atoms = data.composition.sum(axis=0)
    norms = np.linalg.norm(data.forces, axis=1)
    return Summary(
        path=path,
        fingerprint=data.fingerprint,
        level_of_theory=level_of_theory,
        n_molecules=n_molecules,
        n_configs=len(data),
        n_atoms=data.n_atoms,
        elements={symbol(z): int(n) for z, n in zip(data.elements, atoms, strict=True)},
        sizes=(int(sizes.min()), float(sizes.mean()), int(sizes.max())),
        forces=(float(np.sqrt(np.square(data.forces).mean())), float(norms.max())),
        counts=counts,
        failures=dict(common[:_MESSAGES]),
    )
