"""Signals that ask a process to end: Ctrl-C, and those that batch systems send before a kill.

While :func:`handled` is active, such a signal raises :class:`Interrupted` in the main thread, so
that all ``finally`` blocks run: temporary files are removed, and worker processes and LAMMPS are
stopped. A loop that must not be interrupted during a step defers the signal with :func:`deferred`,
and checks for it between steps.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)
"""Ctrl-C, end or preemption of a job, end of a terminal, warnings of batch systems."""

_AGAIN = 0.01  # s after which a swallowed signal is sent again
_IMPATIENT = 1.0  # s; a second Ctrl-C after this time interrupts a step


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end.

    Args:
        number: signal number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_status(self) -> int:
        """Exit status of a shell for this signal: 143 for SIGTERM, 130 for Ctrl-C."""
        return 128 + self.number


def describe(signalled: KeyboardInterrupt) -> str:
    """Describe an interruption, for the user."""
    return str(signalled) or "interrupted"


def exit_status(signalled: KeyboardInterrupt) -> int:
    """Return 128 plus the signal number; 130 for Ctrl-C."""
    return signalled.exit_status if isinstance(signalled, Interrupted) else 128 + signal.SIGINT


_depth = 0  # nesting depth of `deferred` blocks
_pending: int | None = None  # deferred signal
_raised = 0  # last signal raised within the outermost block of `handled`
_swallowed = 0  # signal that Python dropped, to be sent again
_received = 0.0  # time of the deferred signal, by the monotonic clock


def _receive(number: int, frame: FrameType | None) -> None:
    global _pending, _received, _raised
    if _depth == 0:
        _raised = number
        raise Interrupted(number)
    if _pending is None:
        _pending, _received = number, time.monotonic()
    elif number == signal.SIGINT and time.monotonic() - _received > _IMPATIENT:
        # Other signals may arrive twice: both Slurm and torchrun may forward a signal to the job.
        raise Interrupted(number)


@contextlib.contextmanager
def handled(signals: Sequence[int] = SIGNALS) -> Iterator[None]:
    """Raise :class:`Interrupted` for these signals within the block.

    A signal whose exception Python drops, because a destructor was running, is sent again. Ignored
    signals stay ignored, as ``nohup`` requires. In other threads than the main thread this
    does nothing, because Python handles signals only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _raised, _swallowed
    _raised = _swallowed = 0
    timers: list[threading.Timer] = []
    report = sys.unraisablehook

    def send_again(unraisable: sys.UnraisableHookArgs) -> None:
        # Python prints and drops what is raised in destructors and callbacks of weak references.
        global _swallowed
        if not isinstance(unraisable.exc_value, Interrupted):
            report(unraisable)
            return
        _swallowed = unraisable.exc_value.number
        timers.append(threading.Timer(_AGAIN, _send_again))
        timers[-1].start()

    sys.unraisablehook = send_again
    before = {}
    for number in signals:
        found = signal.getsignal(number)
        if found not in (signal.SIG_IGN, None):
            before[number] = found
            signal.signal(number, _receive)
    try:
        yield
    finally:
        _raised = _swallowed = 0
        sys.unraisablehook = report
        for timer in timers:
            timer.cancel()
        for timer in timers:
            timer.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _send_again() -> None:
    if _swallowed:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, _swallowed)


def check() -> None:
    """Raise a signal again if Python swallowed it, because a destructor was running."""
    global _swallowed
    if _raised and _depth == 0:
        _swallowed = 0
        raise Interrupted(_raised)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int]]:
    """Defer signals within the block; a deferred signal is raised at the end of the block.

    Yields:
        A function that returns the number of the deferred signal, or 0 if there is none.
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
