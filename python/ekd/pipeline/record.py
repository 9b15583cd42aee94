"""Record of completed work in an output folder, with settings and times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ekd.errors import EKDError
from ekd.files import atomic_write


class Existing(Enum):
    """What to do with existing results of a stage in the output folder."""

    REFUSE = "refuse"
    """Results are kept; the stage is not started."""
    RESUME = "resume"
    """Complete results are kept, unfinished ones continued; changed settings are refused."""
    OVERWRITE = "overwrite"
    """Results are removed and recomputed."""


@dataclass
class Entry:
    """One stage in the record."""

    settings: dict[str, Any]
    """All settings that the result depends on, by dotted key."""
    complete: bool = False
    wall_seconds: float = 0.0
    """Sum over all attempts, including resumed ones."""


@dataclass
class Record:
    """The file ``stages.json`` of an output folder."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    writable: bool = True
    """Whether this process writes the file; one of the processes that share a stage."""

    @classmethod
    def load(cls, path: Path, writable: bool = True) -> Record:
        """Read the record; a missing file is an empty record.

        Raises:
            EKDError: the file is damaged.
        """
        try:
            raw = json.loads(path.read_text())
            entries = {name: Entry(**entry) for name, entry in raw.items()}
            return cls(path, entries, writable)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, writable=writable)
        except OSError as error:
            raise EKDError(
                f"'{path}' cannot be read ({error.strerror}), so completed stages cannot be "
                "determined; check it and its permissions, or choose another output folder",
                code="EKD-RUN-003",
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise EKDError(
                f"'{path}' is damaged ({error}), so completed stages cannot be determined; remove "
                "it and the results in its folder, or choose another output folder",
                code="EKD-RUN-003",
            ) from None

    @contextmanager
    def timed(self, stage: str, settings: dict[str, Any]) -> Iterator[None]:
        """Record a stage as started, and as complete if the block succeeds; sum its time."""
        previous = self.entries.get(stage)
        resumed = previous is not None and previous.settings == settings
        entry = Entry(
            settings,
            wall_seconds=previous.wall_seconds if previous and resumed else 0.0,
        )
        self.entries[stage] = entry
        self._save()
        before, start = entry.wall_seconds, time.perf_counter()
        try:
            yield
            entry.complete = True
        finally:
            entry.wall_seconds = before + time.perf_counter() - start
            self._save()

    def adopt(self, stage: str, settings: dict[str, Any], wall_seconds: float) -> None:
        """Record a stage that was run elsewhere as complete."""
        self.entries[stage] = Entry(settings, complete=True, wall_seconds=wall_seconds)
        self._save()

    def forget(self, stage: str) -> None:
        """Remove a stage whose results are being deleted."""
        if self.entries.pop(stage, None) is not None:
            self._save()

    def is_complete(self, stage: str) -> bool:
        """Whether the stage has completed."""
        return stage in self.entries and self.entries[stage].complete

    def differences(
        self, stage: str, settings: dict[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Describe the settings that have changed since the stage was started.

        Args:
            stage: name.
            settings: current settings.
            defaults: values of settings that did not exist when the record was written.
        """
        there = self.entries[stage].settings if stage in self.entries else settings
        there = {key: (defaults or {}).get(key) for key in settings} | there
        return [
            f"{key} = {there.get(key)!r} there, {settings.get(key)!r} now"
            for key in sorted({*there, *settings})
            if there.get(key) != settings.get(key)
        ]

    def _save(self) -> None:
        if not self.writable:
            return
        with atomic_write(self.path) as temporary:
            raw = {name: asdict(entry) for name, entry in self.entries.items()}
            temporary.write_text(json.dumps(raw, indent=1) + "\n")
