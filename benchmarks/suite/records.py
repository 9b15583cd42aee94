"""What a measure returns: records of numbers, and reasons where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

FIELDS = ("measure", "size", "threads", "ekd", "peer", "peer_value", "unit", "ratio")
"""Of a record in ``results.json``."""


@dataclass(frozen=True)
class Record:
    """One number of ekd, and beside it that of a peer which did the same.

    Attributes:
        measure: what was measured, e.g. ``"force evaluation, 32 features, 1 interaction"``.
        size: atoms, or configurations of a training epoch.
        threads: threads, or MPI ranks of one thread.
        ekd: in ``unit``.
        unit: rates, for which more is better, wherever there is a peer.
        peer: None where there is none to compare with.
        peer_value: in ``unit``.
        note: what a reader should know of these numbers.
    """

    measure: str
    size: int
    threads: int
    ekd: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if (self.peer is None) != (self.peer_value is None):
            raise ValueError(f"{self.measure}: a peer and its value belong together")

    @property
    def ratio(self) -> float | None:
        """How many times the peer's rate ekd reaches."""
        return None if self.peer_value is None else self.ekd / self.peer_value


@dataclass(frozen=True)
class Skipped:
    """Why something was not measured; ``failed`` if it should have been."""

    measure: str
    size: int | None
    threads: int
    what: str
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Status:
    """What a measure does next."""

    text: str


Message = Record | Skipped | Status


class DisagreementError(Exception):
    """Two that should compute the same do not: their times cannot be compared."""


def compare(
    measure: str,
    size: int,
    threads: int,
    unit: str,
    ekd: float,
    peers: Mapping[str, float],
    note: str = "",
) -> list[Record]:
    """One record for each peer, or a single one without."""
    if not peers:
        return [Record(measure, size, threads, ekd, unit, note=note)]
    return [
        Record(measure, size, threads, ekd, unit, peer, value, note)
        for peer, value in peers.items()
    ]


def to_json(records: Iterable[Record]) -> str:
    """A list of objects with :data:`FIELDS`; null where there is no peer."""
    rows = [{**asdict(record), "ratio": record.ratio} for record in records]
    chosen = [{name: row[name] for name in FIELDS} for row in rows]
    return json.dumps(chosen, indent=1, ensure_ascii=False) + "\n"
