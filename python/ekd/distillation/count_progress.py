"""Progress of a count: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_LINES = 10


class Counter:
    """Context manager that shows the progress of a count.

    Args:
        name: name of the counted items.
        total: total number of items.
        there: number of items that were already finished.
        enabled: False shows nothing.
        console: output console; default: standard error.
    """

    def __init__(
        self,
        name: str,
        total: int,
        there: int = 0,
        enabled: bool = True,
        console: Console | None = None,
    ) -> None:
        self._name, self._total, self._there, self._done = name, total, there, there
        self._enabled = enabled
        self._console = console or Console(stderr=True, highlight=False)
        self._live = enabled and self._console.is_terminal
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task(name, total=total, completed=there, rate="")

    def __enter__(self) -> Counter:
        self._start = time.monotonic()
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def add(self, count: int) -> None:
        """Count more finished items."""
        before, self._done = self._done, self._done + count
        rate = (self._done - self._there) / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(self._task, completed=self._done, rate=f"{rate:.3g}/s")
        if self._enabled and not self._live:
            line = self._total / _LINES
            if self._done == self._total or int(before / line) < int(self._done / line):
                left = (self._total - self._done) / rate
                self._console.print(
                    f"{self._name}: {self._done}/{self._total}, {rate:.3g}/s, {left:.0f} s left",
                    soft_wrap=True,
                )
