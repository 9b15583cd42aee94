"""What a run of the suite asks of every measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """Settings of one measure.

    Attributes:
        folder: for files that a measure needs on the way.
        threads: threads of this process, and MPI ranks of LAMMPS.
        quick: fewer sizes, shorter times.
        sizes: numbers of atoms, instead of the standard ones of every measure.
        without: names of peers to leave out.
        seconds: that a value is timed for; the shortest call counts.
    """

    folder: Path
    threads: int = 1
    quick: bool = False
    sizes: tuple[int, ...] = ()
    without: frozenset[str] = frozenset()
    seconds: float = 2.0

    @property
    def longest(self) -> float:
        """Seconds that a single call may take; what would take longer is skipped."""
        return 20.0 if self.quick else 90.0

    def choose(self, quick: Sequence[int], full: Sequence[int]) -> Sequence[int]:
        """The sizes of this run."""
        return self.sizes or (quick if self.quick else full)

    def too_long(self, size: int, rate: float | None) -> str | None:
        """Why a call on ``size`` atoms is skipped, at a rate (atoms/s) seen on fewer of them."""
        if rate is None or size / rate <= self.longest:
            return None
        return f"would take {size / rate:.0f} s a call, more than {self.longest:.0f}"
