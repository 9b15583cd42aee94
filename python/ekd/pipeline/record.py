"""What has been done in an output folder, with which settings, and how long it took."""

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
    """What happens to results that a stage finds in the output folder."""

    REFUSE = "refuse"
    """They stay; the stage is not started."""
    RESUME = "resume"
    """Complete ones are kept and skipped, unfinished ones continued; other settings refused."""
    OVERWRITE = "overwrite"
    """They are removed and made again."""


@dataclass
class Entry:
    """One stage in the record."""

    settings: dict[str, Any]
    """Everything that its result depends on, by dotted key."""
    complete: bool = False
    wall_seconds: float = 0.0
    """Over all attempts: a run that was resumed counts in full."""


@dataclass
class Record:
    """The file ``stages.json`` of an output folder."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    writable: bool = True
    """Of several processes that share a stage one keeps the record."""

    @classmethod
    def load(cls, path: Path, writable: bool = True) -> Record:
        """Read the record; an absent file is an empty one.

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
                f"'{path}' cannot be read ({error.strerror}), so that nobody can tell what is "
                "complete; check it and its permissions, or choose another output folder",
                code="EKD-RUN-003",
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise EKDError(
                f"'{path}' is damaged ({error}), so that nobody can tell what is complete; "
                "remove it and the results beside it, or choose another output folder",
                code="EKD-RUN-003",
            ) from None

    @contextmanager
    def timed(self, stage: str, settings: dict[str, Any]) -> Iterator[None]:
        """Record a stage as begun, and when the block succeeds as complete; add up its time."""
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
        """Record a stage as complete that was done elsewhere."""
        self.entries[stage] = Entry(settings, complete=True, wall_seconds=wall_seconds)
        self._save()

    def forget(self, stage: str) -> None:
        """Drop a stage whose results are being removed."""
        if self.entries.pop(stage, None) is not None:
            self._save()

    def is_complete(self, stage: str) -> bool:
        """Whether the stage once came to its end."""
        return stage in self.entries and self.entries[stage].complete

    def differences(
        self, stage: str, settings: dict[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Return the settings that differ from those the stage was begun with, in words.

        Args:
            stage: name.
            settings: of now.
            defaults: what settings were, where the record is older than they are.
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
