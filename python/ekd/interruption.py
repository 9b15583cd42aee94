"""Signals that ask a process to end: Ctrl-C, and what batch systems send before they kill.

While :func:`handled` is active, such a signal raises :class:`Interrupted` in the main thread, so
that every ``finally`` on the way runs: temporary files are removed, worker processes and LAMMPS are
stopped. A loop that must not be left in the middle of a step asks for the signal to wait, with
:func:`deferred`, and looks for it between two steps.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)
"""Ctrl-C, the end of a job or its preemption, the end of a terminal, warnings of batch systems."""

_IMPATIENT = 1.0  # s; a second Ctrl-C after this time does not wait for the end of a step


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_status(self) -> int:
        """What a shell calls the end by this signal: 143 for SIGTERM, 130 for Ctrl-C."""
        return 128 + self.number


_depth = 0  # of the blocks that defer
_pending: int | None = None  # the signal that waits
_raised = 0  # the last signal that was raised within the outermost block of `handled`
_received = 0.0  # when it came, by a clock that never goes back


def _receive(number: int, frame: FrameType | None) -> None:
    global _pending, _received, _raised
    if _depth == 0:
        _raised = number
        raise Interrupted(number)
    if _pending is None:
        _pending, _received = number, time.monotonic()
    elif number == signal.SIGINT and time.monotonic() - _received > _IMPATIENT:
        # Others repeat themselves: Slurm and torchrun may both pass on what the job was sent.
        raise Interrupted(number)


@contextlib.contextmanager
def handled(signals: Sequence[int] = SIGNALS) -> Iterator[None]:
    """Raise :class:`Interrupted` for these signals within the block.

    A signal that is ignored stays ignored: ``nohup`` asks for that. Elsewhere than in the main
    thread nothing changes, because Python handles signals there alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _raised
    _raised = 0
    before = {}
    for number in signals:
        found = signal.getsignal(number)
        if found not in (signal.SIG_IGN, None):
            before[number] = found
            signal.signal(number, _receive)
    try:
        yield
    finally:
        _raised = 0
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise again a signal that Python has swallowed, where a destructor was running."""
    if _raised and _depth == 0:
        raise Interrupted(_raised)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int]]:
    """Let signals wait within the block; it is raised at the end of the block.

    Yields:
        a function that returns the number of the signal that waits; 0: there is none.
    """
    global _depth, _pending
    _depth += 1
    try:
        yield lambda: _pending or 0
    finally:
        _depth -= 1
        number = _pending
        if _depth == 0:
            _pending = None
    if _depth == 0 and number is not None:
        raise Interrupted(number)
