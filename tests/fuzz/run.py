"""Damages files of every kind that ekd reads, and reads them: `make fuzz`.

    python tests/fuzz/run.py --mutations 200 --only toml

A damaged file must be refused with a clear error that names it, or be read with its original
contents if the change is where nothing is read. If the checksums of a changed file are correct, it
may also be read as another valid file. Findings are processes that end or hang, other exceptions,
more than 0.5 GiB of memory, and changes that are not noticed. The files of findings are stored with
their seeds, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import native
from kinds import KINDS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn
from rich.table import Table

HERE = Path(__file__).parent
FINE = ("rejected", "equal", "other")
SILENCE = 600.0
"""Wall time in s after which a worker without output is killed: it hangs without using CPU time."""
PER_WORKER = 2500
"""Mutations per process; memory that libraries leak is freed at its end."""


@dataclass
class Result:
    """Outcome of the mutations of one kind."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    memory: int = 0
    outside: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        return sum(self.counts.values())


def main() -> int:
    names = [*KINDS, *native.TARGETS]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--mutations", type=int, default=10_000, help="number of mutations of each kind"
    )
    parser.add_argument("--only", action="append", choices=names, help="a kind; can be repeated")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first mutation")
    parser.add_argument(
        "--workers", type=int, default=1, help="number of kinds that run in parallel"
    )
    parser.add_argument("--no-native", action="store_true", help="leave out the readers in C++")
    parser.add_argument(
        "--native-library",
        type=Path,
        help="a libekd.so for the C interface, instead of building one",
    )
    parser.add_argument(
        "--failures", type=Path, default=Path("fuzz-failures"), help="folder of findings"
    )
    given = parser.parse_args()
    wanted = given.only or ([*KINDS] if given.no_native else names)
    console = Console(stderr=True)
    results: dict[str, Result] = {}
    waiting: queue.Queue[str] = queue.Queue()
    for name in wanted:
        waiting.put(name)
    with Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        tasks = {name: bar.add_task(name, total=given.mutations) for name in wanted}

        def work() -> None:
            while True:
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                run = native.fuzz if name in native.TARGETS else fuzz
                result = results[name] = Result(name)

                def advance(result: Result = result, task: TaskID = tasks[name]) -> None:
                    bar.advance(task)
                    if not console.is_terminal and result.n % 1000 == 0 and result.n:
                        console.print(f"{result.name}: {dict(result.counts)}", soft_wrap=True)

                try:
                    run(result, given, advance)
                except Exception as error:
                    result.findings.append(f"the fuzzer itself failed: {error!r}")

        threads = [threading.Thread(target=work) for _ in range(given.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ordered = [results[name] for name in wanted]
    show(ordered, given.failures)
    return 1 if any(result.findings for result in ordered) else 0


def fuzz(result: Result, given: argparse.Namespace, advance) -> None:  # type: ignore[no-untyped-def]
    """Run all mutations of a kind; a process that is lost is replaced by a new one."""
    kind = KINDS[result.name]()
    with tempfile.TemporaryDirectory(prefix="ekd-fuzz-") as name:
        folder = Path(name)
        (folder / "sound").mkdir()
        kind.make(folder / "sound")
        seed, stop = given.seed, given.seed + given.mutations
        while seed < stop:
            seed = _process(
                result, kind, folder, seed, min(stop, seed + PER_WORKER), given, advance
            )


def _process(result, kind, folder, start, stop, given, advance) -> int:  # type: ignore[no-untyped-def]
    """Run the mutations of one process; returns the seed to continue with."""
    command = [sys.executable, HERE / "worker.py", result.name, folder, str(start), str(stop)]
    errors = folder / "stderr"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        )
    lines: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=listen, daemon=True).start()
    begun, how = None, ""
    hung = False
    while True:
        try:
            line = lines.get(timeout=SILENCE)
        except queue.Empty:
            hung = True
            process.kill()
            continue
        if line is None:
            break
        event, seed, *rest = json.loads(line)
        if event == "begin":
            begun, how = seed, rest[0]
            continue
        outcome, words, seconds, memory = rest
        begun = None
        result.counts[outcome] += 1
        result.seconds = max(result.seconds, seconds)
        result.memory = max(result.memory, memory)
        if outcome not in FINE:
            keep(result, kind, folder, seed, how, outcome, words, given.failures)
        advance()
        start = seed + 1
    status = process.wait()
    if status == 0 and not hung:
        return stop
    words = errors.read_text(errors="replace")
    if begun is None:
        raise RuntimeError(f"a worker ended between two mutations ({status}): {words[-2000:]}")
    ended = "hung" if hung or status == -signal.SIGXCPU else f"ended by signal {-status}"
    if _is_outside(kind, words):
        result.outside += 1
        result.counts["outside"] += 1
    else:
        result.counts["died"] += 1
        keep(result, kind, folder, begun, how, ended, words[-4000:], given.failures)
    advance()
    return begun + 1


def _is_outside(kind, words: str) -> bool:  # type: ignore[no-untyped-def]
    """Whether the innermost Python frame of a crash is in a package of `kind.outside`."""
    frames = [line for line in words.splitlines() if line.strip().startswith("File ")]
    return bool(frames) and any(f"/{name}/" in frames[0] for name in kind.outside)


def keep(result, kind, folder, seed, how, outcome, words, failures) -> None:  # type: ignore[no-untyped-def]
    """Store the file and the description of a finding."""
    result.findings.append(f"seed {seed} ({how}): {outcome}: {words.strip()}")
    if len(result.findings) > 100:
        return
    failures.mkdir(parents=True, exist_ok=True)
    sound = sorted((folder / "sound").iterdir())
    rng = random.Random(f"{result.name} {seed}")
    content = kind.mutate(sound[rng.randrange(len(sound))].read_bytes(), rng).content
    path = failures / f"{result.name}-{seed}{kind.suffix}"
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(result.findings[-1] + "\n")


def show(results: list[Result], failures: Path) -> None:
    """Print the table and the findings."""
    table = Table(title="damaged files", title_justify="left")
    table.add_column("kind")
    heads = ("mutations", "rejected", "equal", "another sound file", "ended outside ekd")
    for head in heads:
        table.add_column(head, justify="right")
    for head in ("longest, s", "memory, MiB", "findings"):
        table.add_column(head, justify="right")
    for result in results:
        table.add_row(
            result.name,
            str(result.n),
            *(str(result.counts[name]) for name in FINE),
            str(result.outside) if result.outside else "0",
            f"{result.seconds:.2f}",
            str(result.memory >> 20),
            str(len(result.findings)),
        )
    console = Console(width=max(120, shutil.get_terminal_size().columns))
    console.print(table)
    for result in results:
        for finding in result.findings[:20]:
            console.print(f"{result.name}, {finding}", markup=False, highlight=False)
    if any(result.findings for result in results):
        console.print(f"the files are in '{failures}'", markup=False)


if __name__ == "__main__":
    begin = time.monotonic()
    code = main()
    print(f"{time.monotonic() - begin:.0f} s")
    sys.exit(code)
