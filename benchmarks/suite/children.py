"""Every measure in a process of its own.

So the number of threads holds for all libraries, which read it when they are loaded; the memory
of one measure is not that of another; and what a peer breaks, it breaks for itself alone.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from suite.machine import memory
from suite.plan import Plan
from suite.records import DisagreementError, Message, Skipped


def run(module: str, plan: Plan, log: Path) -> Iterator[Message]:
    """What ``module.measure(plan)`` yields, as it comes.

    Args:
        module: name of a module with a function ``measure``.
        plan: its argument; ``plan.threads`` goes into the environment too.
        log: file for what the process prints, and for the traceback of a failure.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sending, module, plan, log), name=module)
    with _environment(plan.threads):
        process.start()
    sending.close()
    try:
        while True:
            try:
                yield receiving.recv()
            except EOFError:
                break
        process.join()
        if process.exitcode != 0:
            reason = f"{_ending(process.exitcode or 0)}; see '{log}'"
            yield Skipped(module, None, plan.threads, "the rest", reason, failed=True)
    finally:
        if process.is_alive():  # interrupted
            process.terminate()
            process.join(timeout=30)
            process.kill()


def _child(connection: Connection, module: str, plan: Plan, log: Path) -> None:
    # Control-C is for the parent, which ends this process in a way that lets it stop LAMMPS first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _limit_memory()
    try:
        for message in importlib.import_module(module).measure(plan):
            connection.send(message)
    except Exception as error:
        traceback.print_exc()
        # To run out of memory is a result; that two disagree, or anything else, is a failure.
        text = str(error) or type(error).__name__
        memory = isinstance(error, MemoryError) or "alloc" in text.lower()
        reason = f"out of memory: {text}" if memory else text
        failed = not memory or isinstance(error, DisagreementError)
        line = reason.splitlines()[0][:300]
        connection.send(Skipped(module, None, plan.threads, "the rest", line, failed))
    connection.close()


def _limit_memory() -> None:
    """Running out of memory raises an error here, before the system ends processes at will."""
    available = memory("MemAvailable")
    if available:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(0.9 * available), hard))


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Numbers of threads, for the child to inherit."""
    before = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _ending(status: int) -> str:
    if status < 0:
        return f"ended by signal {signal.Signals(-status).name}"
    return f"ended with status {status}"
