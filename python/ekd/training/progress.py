"""Progress of one or several trainings: live bars on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINES = 5  # plain lines per training


class TrainingProgress:
    """A context in which finished epochs are shown.

    Args:
        n_epochs: epochs of each training.
        enabled: False shows nothing.
        console: where to write; standard error by default.
    """

    def __init__(self, n_epochs: int, enabled: bool = True, console: Console | None = None) -> None:
        self._n_epochs = n_epochs
        self._enabled = enabled
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._live = enabled and self._console.is_terminal
        self._started: dict[str, tuple[float, int]] = {}
        self._tasks: dict[str, Any] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            disable=not self._live,
        )

    def __enter__(self) -> TrainingProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def add(self, name: str) -> None:
        """Announce a training, which may start later."""
        self._tasks[name] = self._bars.add_task(
            name, total=self._n_epochs, start=False, status="waiting"
        )

    def start(self, name: str) -> None:
        """A training begins, or goes on from its checkpoint."""
        self._bars.start_task(self._tasks[name])
        self._bars.update(self._tasks[name], status="")

    def update(self, name: str, record: Mapping[str, Any]) -> None:
        """An epoch is finished; ``record`` is its entry in the history."""
        status = describe(record)
        epoch = record["epoch"]
        self._bars.update(self._tasks[name], completed=epoch, status=status)
        if self._live or not self._enabled:
            return
        now = time.monotonic()
        since, first = self._started.setdefault(name, (now - record["seconds"], epoch - 1))
        if epoch == self._n_epochs or epoch % max(self._n_epochs // _LINES, 1) == 0:
            left = (now - since) / (epoch - first) * (self._n_epochs - epoch)
            self._console.print(
                f"{name}: epoch {epoch}/{self._n_epochs}, {status}, {left:.0f} s left",
                soft_wrap=True,
            )

    def finish(self, name: str) -> None:
        """A training has reached its end, perhaps in an earlier session."""
        self._bars.update(self._tasks[name], completed=self._n_epochs)


def describe(record: Mapping[str, Any]) -> str:
    """Loss and validation error of an epoch in a few words."""
    text = f"loss {record['loss']:.3f}, validation {1e3 * record['validation_energy_rmse']:.1f} meV"
    force = record["validation_force_rmse"]
    return text if force is None else f"{text}, {1e3 * force:.0f} meV/Å"
