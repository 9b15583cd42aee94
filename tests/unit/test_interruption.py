"""Signals raise an exception immediately, or after the end of a block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ekd import interruption
from ekd.interruption import Interrupted, deferred, handled


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_raises_at_once(number: int) -> None:
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        pytest.skip("this signal is ignored here")
    with pytest.raises(Interrupted, match=signal.Signals(number).name) as caught, handled():  # noqa: PT012
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert caught.value.exit_status == 128 + number
    assert signal.getsignal(number) is before


def test_waits_for_the_end_of_a_block() -> None:
    steps = []
    with pytest.raises(Interrupted), handled(), deferred() as signalled:  # noqa: PT012
        assert signalled() == 0
        for _ in range(3):  # the signal is sent repeatedly
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        steps.append(signalled())
    assert steps == [signal.SIGTERM]
    with handled(), deferred() as signalled:  # earlier signals have no effect
        assert signalled() == 0


def test_impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C does not wait, unless it is the first one, received twice."""
    monkeypatch.setattr(interruption, "_IMPATIENT", 0.05)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    reached = []
    with pytest.raises(Interrupted), handled([signal.SIGINT]), deferred():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        reached.append("first")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
        reached.append("second")
    signal.signal(signal.SIGINT, before)
    assert reached == ["first"]


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_swallowed_by_a_destructor() -> None:
    """Python prints exceptions of destructors and continues; the next check finds the signal."""

    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    with pytest.raises(Interrupted), handled():  # noqa: PT012
        thing = Swallows()
        del thing
        interruption.check()


def test_threads_change_nothing() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with handled():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_signal_in_a_callback_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    """Python drops exceptions of callbacks and destructors."""

    class Thing:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    before = sys.unraisablehook
    with pytest.raises(Interrupted, match="SIGTERM"), handled():  # noqa: PT012
        Thing()
        time.sleep(10)
    assert sys.unraisablehook is before
    assert capfd.readouterr().err == ""


def test_other_errors_in_destructors_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thing:
        def __del__(self) -> None:
            raise ValueError("of a destructor")

    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: shown.append(str(found.exc_value)))
    with handled():
        Thing()
    assert shown == ["of a destructor"]


BEFORE_AND_AFTER = {
    "while modules are imported": """
class Finder:
    def find_spec(name, *where):
        if name == "ekd.cli":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder)
""",
    "while the command line is parsed": """
import typer.core
class Context(typer.core.TyperGroup.context_class):
    def __init__(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        super().__init__(*arguments, **options)
typer.core.TyperGroup.context_class = Context
""",
    "after the command": """
import ekd.cli
def run(app=ekd.cli.app):
    try:
        app()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
ekd.cli.app = run
""",
}


@pytest.mark.parametrize("when", BEFORE_AND_AFTER)
def test_program_explains_a_signal_at_any_time(when: str) -> None:
    """The message is printed also outside of the command itself."""
    code = (
        f"import os, signal, sys\nsys.argv = ['ekd', 'explain', 'EKD-DATA-001']\n"
        f"{BEFORE_AND_AFTER[when]}\nfrom ekd.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "error: interrupted by SIGTERM\n"
    assert done.returncode == 128 + signal.SIGTERM
