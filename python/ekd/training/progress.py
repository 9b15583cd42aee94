"""Progress of one or several trainings: live bars on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_LINES = 5  # plain lines per training


class TrainingProgress:
    """Context manager that shows the progress of trainings.

    Args:
        enabled: False shows nothing.
        console: output console; default: standard error.
    """

    def __init__(self, enabled: bool = True, console: Console | None = None) -> None:
        self._n_epochs: dict[str, int] = {}
        self._enabled = enabled
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._live = enabled and self._console.is_terminal
        self._started: dict[str, tuple[float, int]] = {}
        self._tasks: dict[str, Any] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[epoch]}/{task.total:.0f}"),
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

    def add(self, name: str, n_epochs: int) -> None:
        """Add a training, which may start later."""
        self._n_epochs[name] = n_epochs
        self._tasks[name] = self._bars.add_task(
            name, total=n_epochs, start=False, epoch=0, status="waiting"
        )

    def warn(self, provenance: Mapping[str, Any] | None) -> None:
        """Show warnings about the reference energies, if any."""
        if self._enabled:
            for text in (provenance or {}).get("reference_warnings", ()):
                self._console.print(f"[bold yellow]look:[/] {escape(text)}", soft_wrap=True)

    def start(self, name: str) -> None:
        """Show that a training starts, or continues from its checkpoint."""
        self._bars.start_task(self._tasks[name])
        self._bars.update(self._tasks[name], status="")

    def update(self, name: str, record: Mapping[str, Any]) -> None:
        """Show a finished epoch, or progress within an epoch.

        Args:
            name: name of the training.
            record: history record of a finished epoch, or ``epoch, batch, n_batches,
                configs_per_second`` within an epoch.
        """
        task, epoch, n_epochs = self._tasks[name], record["epoch"], self._n_epochs[name]
        if "batch" in record:
            batch, n_batches = record["batch"], record["n_batches"]
            status = f"batch {batch}/{n_batches}, {record['configs_per_second']:.0f} configs/s"
            done = epoch - 1 + batch / n_batches
            self._bars.update(task, completed=done, epoch=epoch - 1, status=status)
            return
        status = describe(record)
        self._bars.update(task, completed=epoch, epoch=epoch, status=status)
        if self._live or not self._enabled:
            return
        now = time.monotonic()
        since, first = self._started.setdefault(name, (now - record["seconds"], epoch - 1))
        if epoch == n_epochs or epoch % max(n_epochs // _LINES, 1) == 0:
            left = (now - since) / (epoch - first) * (n_epochs - epoch)
            self._console.print(
                f"{name}: epoch {epoch}/{n_epochs}, {status}, {left:.0f} s left",
                soft_wrap=True,
            )

    def finish(self, name: str) -> None:
        """Show that a training is finished, possibly early or in a previous session."""
        task = self._tasks[name]
        if self._bars.tasks[task].completed == 0:
            self._bars.update(task, epoch=self._n_epochs[name])
        self._bars.update(task, completed=self._n_epochs[name])


def describe(record: Mapping[str, Any]) -> str:
    """Summarize loss, validation error and speed of an epoch."""
    text = f"loss {record['loss']:.3f}, validation {1e3 * record['validation_energy_rmse']:.1f} meV"
    force = record["validation_force_rmse"]
    if force is not None:
        text += f", {1e3 * force:.0f} meV/Å"
    return f"{text}, {record['configs_per_second']:.0f} configs/s"
