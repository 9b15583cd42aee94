"""What ekd is meant to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from suite.cases import ONE, SMALL, TWO
from suite.records import Record


@dataclass(frozen=True)
class Target:
    """A bound on one number of the suite.

    Attributes:
        measure: of the record.
        bound: at least this ratio to the peer; without a peer, at most this value.
        peer: without what its name has in parentheses; None for a bound on the value.
        size: of the record, about; None: any.
        threads: of the record; None: any.
    """

    measure: str
    bound: float
    peer: str | None = None
    size: int | None = None
    threads: int | None = None

    def matches(self, record: Record) -> bool:
        """Whether the target speaks of this record."""
        return (
            record.measure == self.measure
            and (self.peer is None or (record.peer or "").partition(" (")[0] == self.peer)
            and (self.threads is None or record.threads == self.threads)
            and (self.size is None or abs(record.size - self.size) <= 0.05 * self.size)
        )


@dataclass(frozen=True)
class Verdict:
    """A target, and the number that was found, or None."""

    target: Target
    found: float | None
    unit: str

    @property
    def state(self) -> str:
        """``met``, ``missed`` or ``not measured``."""
        if self.found is None:
            return "not measured"
        bound = self.target.bound
        good = self.found <= bound if self.target.peer is None else self.found >= bound
        return "met" if good else "missed"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, where, asked and found, as text."""
        target = self.target
        what = target.measure if target.peer is None else f"{target.measure}, to {target.peer}"
        places = []
        if target.size:
            places.append(f"{target.size:,}")
        if target.threads:
            places.append(f"{target.threads} thread{'s' if target.threads > 1 else ''}")
        sign = "≤" if target.peer is None else "≥"
        found = "" if self.found is None else f"{self.found:.3g} {self.unit}".strip()
        return what, ", ".join(places), f"{sign} {target.bound:g} {self.unit}".strip(), found


TARGETS = (
    Target(f"force evaluation, {TWO}", 8, "hippynn", size=3_000, threads=2),
    Target(f"force evaluation, {ONE}", 10, "hippynn", size=3_000, threads=2),
    Target(f"fraction of the matrix rate, {TWO}", 0.7, "torch.mm", size=3_000, threads=2),
    Target(f"MD in LAMMPS, {SMALL}", 0.9, "bare force evaluation", size=12_288, threads=1),
    Target(f"MD in LAMMPS, {SMALL}", 1, "reaxff", size=3_000, threads=2),
    Target("training epoch, energies and forces", 3, "hippynn"),
    Target("neighbour list, 5.5 Å", 2, "vesin", size=12_288, threads=1),
    Target("neighbour list, 5.5 Å", 3.5, "vesin, 1 thread", size=12_288, threads=2),
    Target(f"peak memory of an evaluation, {SMALL}", 12, size=1_029_000),
    Target(f"growth of time per atom, {SMALL}", 1.15, size=98_304),
)


def judge(records: Iterable[Record], targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """Compare every target with the record that it speaks of.

    Where several match, the worst counts.
    """
    records = list(records)
    verdicts = []
    for target in targets:
        matching = [record for record in records if target.matches(record)]
        if target.peer is None:
            unit = matching[0].unit if matching else ""
            found = max((record.ekd for record in matching), default=None)
        else:
            unit = "×"
            ratios = [record.ratio for record in matching if record.ratio is not None]
            found = min(ratios, default=None)
        verdicts.append(Verdict(target, found, unit))
    return verdicts
