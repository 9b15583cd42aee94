"""Worker processes that run the tasks of a job.

They are started as ``python -m ekd.workers JOB`` rather than by :mod:`multiprocessing`, so that the
user's script is not imported again and needs no ``__main__`` guard. A worker reads tasks from
standard input, one JSON value per line, and writes reports and the end of each task to standard
output, one JSON object per line. It exits at the end of its input or when the parent exits. SIGTERM
also ends it, after its task has saved its state; see :mod:`ekd.interruption`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import ekd.errors
from ekd import interruption
from ekd.errors import ConfigError, EKDError
from ekd.files import cannot_write

_GRACE = 10.0  # s between SIGTERM and SIGKILL
_MOMENT = 1.0  # s within which a signal reaches all processes of a job

Report = Callable[[dict[str, Any]], None]


class Job(Protocol):
    """State shared by the tasks; it is pickled once and read by every process."""

    def run(self, task: Any, report: Report) -> None:
        """Run a task, a JSON value; ``report`` sends a JSON object to the parent."""


@dataclass(frozen=True)
class Event:
    """Event in the life of a task.

    Attributes:
        task: the task.
        kind: ``started``, ``report`` or ``done``.
        content: content of a report.
    """

    task: Any
    kind: str
    content: dict[str, Any]


def default_workers() -> int:
    """Default number of worker processes: ``EKD_WORKERS`` if set, else one per core.

    Raises:
        ConfigError: the variable is not a positive number.
    """
    named = os.environ.get("EKD_WORKERS", "").strip()
    if not named:
        return n_cores()
    if not named.isdecimal() or int(named) < 1:
        raise ConfigError(
            f"the environment variable EKD_WORKERS is '{named}'; set it to the number of worker "
            "processes, 1 or more, or unset it",
            code="EKD-CONFIG-004",
        )
    return int(named)


def n_cores() -> int:
    """Number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    job: Job,
    tasks: Sequence[Any],
    n_workers: int,
    name: Callable[[Any], str],
    lost: type[EKDError],
    advice: str,
) -> Generator[Event, None, None]:
    """Run tasks in order, in single-threaded processes.

    When a task fails, a process is lost, or the caller closes the generator (use
    :func:`contextlib.closing`), all processes are stopped.

    Args:
        job: state shared by the tasks.
        tasks: tasks, as JSON values.
        n_workers: number of processes.
        name: returns the name of a task in errors.
        lost: class of the error to raise when a process ends before its task.
        advice: what to do in this case, for the error message.

    Raises:
        EKDError: a task failed; the error has the class and message of the original one.
    """
    waiting = list(tasks)
    events: queue.SimpleQueue[tuple[_Process, dict[str, Any] | None]] = queue.SimpleQueue()
    with _job_file(job) as path, contextlib.ExitStack() as stack:
        processes: list[_Process] = []
        stack.callback(_stop, processes)
        for _ in range(min(n_workers, len(waiting))):
            processes.append(_Process(path, events))
        idle = list(processes)
        while waiting or len(idle) < len(processes):
            while idle and waiting:
                process = idle.pop(0)
                process.begin(waiting.pop(0))
                yield Event(process.task, "started", {})
            process, message = events.get()
            if process in idle:
                continue  # it had no task
            if message is None:
                # Batch systems signal all processes of a job: wait for the signal to this one.
                time.sleep(_MOMENT if process.was_terminated() else 0)
                raise lost(
                    f"{name(process.task)} was lost: {process.explain_end()}. {advice}",
                    code="EKD-RUN-008",
                )
            if "error" in message:
                kind: type[EKDError] = getattr(ekd.errors, message["kind"])
                raise kind(f"{name(process.task)}: {message['error']}")
            if "report" in message:
                yield Event(process.task, "report", message["report"])
            else:
                yield Event(process.task, "done", {})
                idle.append(process)


def complete(
    job: Job,
    tasks: Sequence[Any],
    n_workers: int,
    listen: Callable[[Event], None],
    name: Callable[[Any], str],
    lost: type[EKDError],
    advice: str,
) -> None:
    """Run tasks as :func:`run` does, or in this process if ``n_workers`` is below 2.

    Args:
        job: state shared by the tasks.
        tasks: tasks, as JSON values.
        n_workers: number of processes.
        listen: callback for each event.
        name: returns the name of a task in errors of other processes.
        lost: class of the error to raise when a process ends before its task.
        advice: what to do in this case, for the error message.

    Raises:
        EKDError: a task failed, or a process was lost.
    """
    if n_workers < 2:
        for task in tasks:
            interruption.check()
            listen(Event(task, "started", {}))
            job.run(task, functools.partial(_tell, listen, task))
            listen(Event(task, "done", {}))
        return
    with contextlib.closing(run(job, tasks, n_workers, name, lost, advice)) as events:
        for event in events:
            listen(event)


def _tell(listen: Callable[[Event], None], task: Any, content: dict[str, Any]) -> None:
    listen(Event(task, "report", content))


class _Process:
    """A worker process; its messages are put into a queue, as (process, message or None)."""

    def __init__(self, job_path: Path, events: queue.SimpleQueue[Any]) -> None:
        self.task: Any = None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ekd.workers", str(job_path), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._orders, self._messages = self._process.stdin, self._process.stdout
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()

    def _listen(self, events: queue.SimpleQueue[Any]) -> None:
        with contextlib.suppress(ValueError):  # a killed process may leave an incomplete line
            for line in self._messages:
                events.put((self, json.loads(line)))
        events.put((self, None))

    def begin(self, task: Any) -> None:
        self.task = task
        with contextlib.suppress(BrokenPipeError):  # the listener reports the end of the process
            self._orders.write(json.dumps(task) + "\n")
            self._orders.flush()

    def explain_end(self) -> str:
        code = self._process.wait()
        if code == _TERMINATED:
            return "its process was asked to end (SIGTERM)"
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        last = f"; its last words: {lines[-1]}" if lines else ""
        if code >= 0:
            return f"its process ended with status {code}{last}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = " (often: out of memory)" if name == "SIGKILL" else ""
        return f"its process was killed by signal {-code}, {name}{hint}{last}"

    def was_terminated(self) -> bool:
        """Whether SIGTERM ended it."""
        return self._process.wait() in (_TERMINATED, -signal.SIGTERM)

    def ask_to_end(self) -> None:
        self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for its end until a deadline of the monotonic clock, then kill it."""
        try:
            self._process.wait(timeout=max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()  # it ends with the process
        self._messages.close()
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()
        self._errors.close()


_TERMINATED = 128 + signal.SIGTERM  # exit status of a worker that ended cleanly after SIGTERM


def _stop(processes: list[_Process]) -> None:
    """End all processes at the same time."""
    for process in processes:
        process.ask_to_end()
    deadline = time.monotonic() + _GRACE
    for process in processes:
        process.end(deadline)


@contextlib.contextmanager
def _job_file(job: Job) -> Iterator[Path]:
    content = pickle.dumps(job)
    with contextlib.ExitStack() as stack:
        path = Path(tempfile.gettempdir()) / "ekd-job.pkl"
        try:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ekd-"))) / path.name
            path.write_bytes(content)
        except OSError as error:
            raise EKDError(
                f"{cannot_write(path, error)}. Worker processes read their job from this file; set "
                "the environment variable TMPDIR to use another folder",
                code="EKD-RUN-002",
            ) from None
        yield path


def main(job_path: str, parent: int) -> None:
    """Run tasks until the input ends."""
    # These signals are sent to whole process groups; only the parent handles them.
    for number in set(interruption.SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Standard output carries the protocol: all other output goes to standard error.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job: Job = pickle.loads(Path(job_path).read_bytes())
    for line in sys.stdin:
        if not _do(job, json.loads(line), channel):
            return


def _do(job: Job, task: Any, channel: TextIO) -> bool:
    def send(**message: Any) -> None:
        print(json.dumps(message), file=channel)

    try:
        job.run(task, lambda content: send(report=content))
        send(done=True)
    except EKDError as error:
        send(error=str(error), kind=type(error).__name__)
        return False
    return True


def _end_with(parent: int) -> None:
    """End this process when its parent has been killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)  # the task may have started processes of its own
    time.sleep(_GRACE)
    os._exit(1)


def _run_as_worker() -> int:
    """Run as a worker process; return the exit status."""
    try:
        with interruption.handled([signal.SIGTERM]):
            main(sys.argv[1], int(sys.argv[2]))
    except interruption.Interrupted as signalled:
        return signalled.exit_status
    except BrokenPipeError:  # the parent is gone
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    status = _run_as_worker()
    sys.stderr.flush()
    os._exit(status)  # immediately: there is nothing to clean up
