"""Worker processes: order of tasks, types of errors, and no orphaned workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ekd import workers
from ekd.errors import ConfigError, StructureError, TeacherError


@dataclass(frozen=True)
class Squares:
    """Reports the square of each task, if the task is accepted."""

    folder: Path

    def run(self, task: Any, report: workers.Report) -> None:
        print("this does not disturb the protocol")
        if task == "fail":
            raise StructureError("not a number")
        if task == "crash":
            os._exit(3)
        if task == "wait":
            (self.folder / "pid").write_text(str(os.getpid()))
            time.sleep(600)
        report({"square": task**2})


def run(folder: Path, tasks: list[Any], n_workers: int = 2) -> list[workers.Event]:
    events = workers.run(
        Squares(folder),
        tasks,
        n_workers,
        name=lambda task: f"task {task}",
        lost=TeacherError,
        advice="Try again",
    )
    with contextlib.closing(events):
        return list(events)


def test_every_task_is_done_once(tmp_path: Path) -> None:
    events = run(tmp_path, [3, 1, 4, 1.5])
    assert [event.task for event in events if event.kind == "started"] == [3, 1, 4, 1.5]
    reports = {event.task: event.content["square"] for event in events if event.kind == "report"}
    assert reports == {3: 9, 1: 1, 4: 16, 1.5: 2.25}
    assert len([event for event in events if event.kind == "done"]) == 4
    assert run(tmp_path, []) == []


def test_error_keeps_its_kind_and_stops_the_others(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="task fail: not a number"):
        run(tmp_path, ["wait", "fail"])
    with pytest.raises(TeacherError, match=r"task crash was lost: .*status 3.*\. Try again"):
        run(tmp_path, ["crash"])
    if (tmp_path / "pid").exists():  # the first worker may not have started it
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_here_or_elsewhere_is_the_same(tmp_path: Path, n_workers: int) -> None:
    events: list[workers.Event] = []
    workers.complete(
        Squares(tmp_path),
        [3, 1],
        n_workers,
        events.append,
        name=str,
        lost=TeacherError,
        advice="Try again",
    )
    told = {k: [(e.kind, e.content) for e in events if e.task == k] for k in (3, 1)}
    assert told == {
        k: [("started", {}), ("report", {"square": k**2}), ("done", {})] for k in (3, 1)
    }


SCRIPT = """
from pathlib import Path
from test_workers import run
run(Path({folder!r}), ["wait"], 1)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(folder=str(tmp_path))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    worker = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{worker}").exists() and "Z" not in Path(f"/proc/{worker}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("named", "expected"), [("", workers.n_cores()), ("1", 1), (" 7 ", 7), ("12", 12)]
)
def test_default_number(monkeypatch: pytest.MonkeyPatch, named: str, expected: int) -> None:
    monkeypatch.setenv("EKD_WORKERS", named)
    assert workers.default_workers() == expected


@pytest.mark.parametrize("named", ["0", "-1", "two", "1.5"])
def test_default_number_that_is_none(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("EKD_WORKERS", named)
    with pytest.raises(ConfigError, match=f"EKD_WORKERS is '{named}'; set it to the number"):
        workers.default_workers()
