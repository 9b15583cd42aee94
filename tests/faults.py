"""Runs commands of ekd that are killed, interrupted, or meet a full disk.

    python faults.py FOLDER OUTCOME [N_KILLS N_DISKS N_SIGNALS [COMMAND...]]

Each command is killed, run on a disk that is too small, and sent signals, the given number of
times. Without numbers, only the first commands are tested, as often as given in :data:`COMMANDS`,
without a pool. ``FOLDER/start`` contains the input files. Every command is first run to its end;
all other runs must reproduce its results. Each attempt is a separate process, forked from this one,
which has done the imports. See also :mod:`kills`, for trainings.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ekd.distillation
import ekd.dynamics
import ekd.evaluation
import ekd.export
import ekd.inference
import ekd.pipeline.runner  # noqa: F401
from ekd.__main__ import main as ekd_main
from kills import kill_at, warm_up

# Values that depend on the time, the speed or the folder of a run.
_OF_THE_RUN = {
    "seconds", "wall_seconds", "configs_per_second", "written", "created_utc", "speed",
    "atoms_per_second", "seconds_per_atom", "machine", "wall_time", "path", "microseconds_per_atom",
    "ekd_sha256",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: name of the case.
        arguments: arguments of ekd.
        leaves: output files and folders.
        again: arguments of the command to continue; None: the same.
        usual: default numbers of kills, disks and signals; None: the command is not run by default.
    """

    name: str
    arguments: tuple[str, ...]
    leaves: tuple[str, ...]
    again: tuple[str, ...] | None = None
    usual: tuple[int, int, int] | None = None


def stage(name: str, *leaves: str, usual: tuple[int, int, int] | None = None) -> Command:
    """A stage of the pipeline."""
    arguments = (name, "config.toml", "--resume", "--quiet")
    return Command(name, arguments, tuple(f"run/{leaf}" for leaf in leaves), usual=usual)


MOLECULE = ("--molecule", "H2O", "-T", "300", "--seeds", "2", "--duration", "0.006", "--quiet")
COMMANDS = (
    Command(
        "prepare",
        ("prepare", "raw.h5", "--energy", "ccsd(t)_ccpvdz.energy", "-o", "train.h5", "--quiet"),
        ("train.h5", "train.png"),
        usual=(0, 1, 0),
    ),
    stage("pool", "pool.h5", "pool.png", "pool.json"),
    stage("pretrain", "bases"),
    stage("train", "teachers", usual=(1, 1, 1)),
    stage("label", "labels.h5", usual=(1, 1, 0)),
    stage("distill", "student"),
    stage("evaluate", "evaluation"),
    stage("export", "student.pt"),
    stage("report", "report.html", "summary.json", "plots"),
    Command(
        "evaluate models",
        ("evaluate", "run", "--workers", "1", "-o", "compared", "--quiet"),
        ("compared",),
    ),
    Command(
        "stability",
        ("stability", "run/student.pt", *MOLECULE, "--workers", "1"),
        ("stability",),
    ),
    Command(
        "committee",
        ("committee", "run", "run", "-o", "committee.pt"),
        ("committee.pt",),
        ("committee", "run", "run", "-o", "committee.pt", "--overwrite"),
    ),
    Command("upgrade", ("upgrade", "old.pt", "-o", "new.pt"), ("new.pt",)),
)


@dataclass
class End:
    """How an attempt ended.

    Attributes:
        status: exit status; minus the signal number if killed by a signal.
        output: what it printed.
    """

    status: int
    output: str


def begin(folder: Path, arguments: tuple[str, ...], first: Callable[[], None] | None) -> int:
    """Start a command in a separate process; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.chdir(folder)
        descriptor = os.open(printed(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ["COLUMNS"] = "400"
        sys.argv = ["ekd", *arguments]
        if first is not None:
            first()
        ekd_main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
        os._exit(99)
    os._exit(0)


def printed(folder: Path) -> Path:
    """Path of the output of a command, outside of the disk that may be full."""
    return folder.with_name(f"{folder.name}.output")


def finish(pid: int, folder: Path) -> End:
    """Wait for an attempt."""
    status = os.waitpid(pid, 0)[1]
    return End(os.waitstatus_to_exitcode(status), printed(folder).read_text(errors="replace"))


def run(folder: Path, arguments: tuple[str, ...], first: Callable[[], None] | None = None) -> End:
    """Run a command and wait for it."""
    return finish(begin(folder, arguments, first), folder)


def results(folder: Path, leaves: tuple[str, ...]) -> dict[str, str]:
    """Checksums of file contents without times, by file; hidden files are not results."""
    found = {}
    for leaf in leaves:
        top = folder / leaf
        files = [top] if top.is_file() else sorted(top.rglob("*"))
        for path in files:
            if path.is_file() and not path.name.startswith("."):
                found[str(path.relative_to(folder))] = _digest(path)
    return found


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for part in _content(path):
        digest.update(part)
    return digest.hexdigest()


def _content(path: Path) -> Iterator[bytes]:
    raw = path.read_bytes()
    if path.suffix == ".json":
        yield json.dumps(_lasting(json.loads(raw)), sort_keys=True).encode()
    elif path.suffix == ".html":  # contains times; complete if it has its end
        yield str(raw.rstrip().endswith(b"</html>")).encode()
    elif path.suffix == ".png":
        yield raw[:8] + raw[-12:]  # signature and the chunk IEND
    elif path.suffix == ".csv":
        lines = [line.split(",") for line in raw.decode().splitlines()]
        kept = [k for k, name in enumerate(lines[0]) if name not in _OF_THE_RUN]
        yield "\n".join(",".join(line[k] for k in kept) for line in lines).encode()
    elif path.name == "checkpoint.pt":
        contents = torch.load(io.BytesIO(raw), weights_only=True)
        for name, tensor in contents.pop("model").items():
            yield name.encode() + tensor.numpy().tobytes()
        yield str(contents["state"] is None).encode()
        yield json.dumps(_lasting(contents["history"]), sort_keys=True).encode()
    elif path.suffix == ".npz":
        with np.load(io.BytesIO(raw)) as arrays:
            for name in sorted(set(arrays) - {"seconds", "sha256"}):
                yield name.encode() + arrays[name].tobytes()
    elif path.suffix == ".pt":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for name in sorted(archive.namelist()):
                inner = name.partition("/")[2]
                record = archive.read(name)
                if "metadata" in inner:
                    record = json.dumps(_lasting(json.loads(record)), sort_keys=True).encode()
                if "serialization_id" not in inner:
                    yield inner.encode() + record
    else:
        yield raw


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in _OF_THE_RUN}
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name
    return [_lasting(v) for v in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Case:
    """A command that has been run to its end once.

    Attributes:
        command: the command.
        top: folder of all folders.
        before: copy of the folder before the command.
        whole: the folder after the command.
        seconds: wall time of the command.
        work: CPU time of the command, s.
    """

    command: Command
    top: Path
    before: Path
    whole: Path
    seconds: float
    work: float

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def again(self) -> tuple[str, ...]:
        """Arguments of the command to continue."""
        return self.command.again or self.command.arguments

    def prepare(self, folder: Path) -> None:
        """Restore a folder to its state before the command."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.before, folder)

    def continue_in(self, folder: Path) -> list[str]:
        """Run the command to its end; return the files that differ from the expected ones."""
        end = run(folder, self.again)
        assert end.status == 0, f"{self.name}, continued: {end.output}"
        one, other = (results(f, self.command.leaves) for f in (self.whole, folder))
        return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def in_turn(top: Path, commands: Sequence[Command]) -> Iterator[Case]:
    """Run commands one after the other in one folder; each provides input for the next one."""
    whole, before = top / "whole", top / "before"
    shutil.copytree(top / "start", whole)
    for command in commands:
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(whole, before)
        start, work = time.monotonic(), _work()
        end = run(whole, command.arguments)
        assert end.status == 0, f"{command.name}: {end.output}"
        yield Case(command, top, before, whole, time.monotonic() - start, _work() - work)


def _work() -> float:
    """CPU time of all attempts so far, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def kill(case: Case, n_kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill a command at random moments while it writes files, and at random times."""
    kinds, n_completed, folder = {"file": 0, "timer": 0}, 0, case.top / "killed"
    case.prepare(folder)
    reach = 12  # number of moments of writing to choose from
    while sum(kinds.values()) < n_kills:
        kind = min(kinds, key=lambda name: kinds[name])
        if kind == "file":
            end = run(folder, case.again, functools.partial(kill_at, chance.randrange(reach)))
        else:
            pid = begin(folder, case.again, None)
            time.sleep(chance.uniform(0.05, 0.8) * case.seconds)
            os.kill(pid, signal.SIGKILL)
            end = finish(pid, folder)
        if end.status == -signal.SIGKILL:
            kinds[kind] += 1
            if chance.random() < 0.3:
                case.prepare(folder)  # otherwise the next attempt continues
        else:
            assert end.status == 0, f"{case.name}: {end.output}"
            n_completed += 1
            reach = max(2, reach // 2) if kind == "file" else reach
            case.prepare(folder)
    return {**kinds, "completed": n_completed, "differ": case.continue_in(folder)}


# ---- full disk ----------------------------------------------------------------------------------


_LARGE = 64 << 20  # bytes; more than all commands need


def can_mount() -> bool:
    """Whether this user may mount file systems."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    place = Path("probe.mount")
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", str(place)], check=True)
    place.rmdir()
    return done.returncode == 0


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """Mount a file system of this size in bytes; yield a function that changes the size."""
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*options, f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield lambda n: subprocess.run(
            [*options, f"remount,size={n}", "tmpfs", str(place)], check=True
        )
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def used(folder: Path) -> int:
    """Size of a folder on a tmpfs, where files and links take whole pages."""
    page = os.sysconf("SC_PAGE_SIZE")
    sizes = [path.lstat().st_size for path in folder.rglob("*")]
    return sum(-(-size // page) * page + page // 4 for size in sizes)


def fill(case: Case, n_disks: int) -> dict[str, Any]:
    """Run a command on disks with space for a part of its output, then enlarge the disk."""
    outcome: dict[str, Any] = {"completed": 0, "ends": [], "differ": []}
    needed = used(case.whole) - used(case.before)
    for k in range(n_disks):
        folder = case.top / "disk"
        with small_disk(folder, _LARGE) as resize:
            shutil.copytree(case.before, folder, dirs_exist_ok=True)
            found = os.statvfs(folder)
            taken = (found.f_blocks - found.f_bfree) * found.f_frsize
            resize(taken + int(0.9 * needed * (k + 0.5) / n_disks))
            end = run(folder, case.again)
            if end.status == 0:
                outcome["completed"] += 1
                continue
            outcome["ends"].append([end.status, end.output])
            resize(_LARGE)
            outcome["differ"] += case.continue_in(folder)
    return outcome


# ---- signals ------------------------------------------------------------------------------------


def tell_to_end(case: Case, n_signals: int, chance: random.Random) -> dict[str, Any]:
    """Send signals to a command at random times, then continue it."""
    outcome: dict[str, Any] = {"completed": 0, "ends": [], "differ": []}
    folder = case.top / "signalled"
    for k in range(n_signals):
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)[k % 3]
        case.prepare(folder)
        pid = begin(folder, case.again, None)
        time.sleep(chance.uniform(0.2, 0.8) * case.seconds)
        os.kill(pid, number)
        start = time.monotonic()
        end = finish(pid, folder)
        if end.status == 0:
            outcome["completed"] += 1  # finished before the signal
        else:
            outcome["ends"].append([number, end.status, time.monotonic() - start, end.output])
        outcome["differ"] += case.continue_in(folder)
    return outcome


def main() -> None:
    top, outcome = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    numbers = tuple(map(int, sys.argv[3:6]))
    os.chdir(top)
    warm_up()
    (top / "warm-up.png").unlink()
    chance = random.Random(20261130)
    mounts = can_mount()
    found = {}
    usual = [command for command in COMMANDS if command.usual]
    for case in in_turn(top, COMMANDS if numbers else usual):
        if sys.argv[6:] and case.name not in sys.argv[6:]:
            continue
        start = time.monotonic()
        n_kills, n_disks, n_signals = numbers or case.command.usual or (0, 0, 0)
        found[case.name] = {
            "kill": kill(case, n_kills, chance),
            "disk": fill(case, n_disks if mounts else 0),
            "signal": tell_to_end(case, n_signals, chance),
            "whole_seconds": case.seconds,
            "whole_work": case.work,
            "seconds": time.monotonic() - start,
        }
        outcome.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
