"""The benchmark suite: ekd and its peers in one run, on one input.

python benchmarks/run.py [--quick] [--only neighbor_list forces md training molecules memory]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from ekd.errors import EKDError
from ekd.files import atomic_write
from suite import children
from suite.machine import describe, summary
from suite.plan import Plan
from suite.plots import plot_rates, plot_ratios
from suite.records import Record, Skipped, Status, to_json
from suite.tables import line, markdown, print_messages, print_verdicts, reasons
from suite.targets import judge


@dataclass(frozen=True)
class Part:
    """A measure as the module that does it."""

    module: str
    every_thread_count: bool = True


PARTS: dict[str, Part] = {
    "neighbor_list": Part("bench_neighbor_list"),
    "forces": Part("bench_forces"),
    "md": Part("bench_md"),
    "training": Part("bench_training"),
    "molecules": Part("bench_molecules"),
    "memory": Part("bench_memory", every_thread_count=False),
}
"""In the order in which they are measured."""

PEERS = ("vesin", "matscipy", "ase", "hippynn", "torchani", "reaxff")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Measure ekd and its peers in one run, on one input, on this machine. Peers "
        "that are not installed are skipped, with the reason. What is compared must agree first. "
        "Writes results.json, table.md, machine.json, rates.png and ratios.png.",
        epilog="example: python benchmarks/run.py --quick --only neighbor_list md",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: fewer sizes, shorter times"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(PARTS),
        default=list(PARTS),
        metavar="MEASURE",
        help=f"of {', '.join(PARTS)} (default: all)",
    )
    parser.add_argument(
        "--without",
        nargs="+",
        choices=PEERS,
        default=[],
        metavar="PEER",
        help=f"leave out, of {', '.join(PEERS)}",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        nargs="+",
        default=[1, 2],
        help="threads, and MPI ranks of LAMMPS (default: 1 2)",
    )
    parser.add_argument(
        "--sizes",
        type=_positive,
        nargs="+",
        default=[],
        help="atoms, about, instead of the standard sizes of every measure",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="how long each value is timed (default: 2, with --quick 0.5)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("bench"), help="folder (default: bench)"
    )
    options = parser.parse_args(given)
    if options.output.exists() and not options.output.is_dir():
        parser.error(f"'{options.output}' is a file; name a folder with --output")
    if options.seconds is None:
        options.seconds = 0.5 if options.quick else 2.0
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def main() -> int:
    options = arguments()
    output = options.output
    console = Console()
    begin = time.monotonic()
    machine = describe()
    console.print(summary(machine), markup=False, highlight=False)
    output.mkdir(parents=True, exist_ok=True)
    log = output / "log.txt"
    log.unlink(missing_ok=True)
    counts = sorted(set(options.threads))
    tasks = [
        (name, n)
        for name, part in PARTS.items()
        if name in options.only
        for n in (counts if part.every_thread_count else counts[-1:])
    ]
    records: list[Record] = []
    skipped: list[Skipped] = []
    durations: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="ekd-bench-") as folder, _progress(console) as bar:
        total = bar.add_task("all", total=len(tasks))
        for name, n in tasks:
            plan = Plan(
                Path(folder),
                n,
                options.quick,
                tuple(options.sizes),
                frozenset(options.without),
                options.seconds,
            )
            title = f"{name}, {n} thread{'s' if n > 1 else ''}"
            bar.update(total, description=title)
            start = time.monotonic()
            with closing(children.run(PARTS[name].module, plan, log)) as messages:
                for message in messages:
                    if isinstance(message, Status):
                        bar.update(total, description=f"{title}: {message.text}")
                    elif isinstance(message, Record):
                        records.append(message)
                        console.print(line(message), highlight=False)
                    else:
                        skipped.append(message)
                        style = "red" if message.failed else "dim"
                        console.print(reasons([message])[0], style=style, markup=False)
            durations[title] = round(time.monotonic() - start, 1)
            bar.advance(total)
            # After every part: an interrupted run keeps what it has found.
            _write(output / "results.json", to_json(records))
    machine["seconds"] = {"all": round(time.monotonic() - begin, 1), **durations}
    _write(output / "machine.json", json.dumps(machine, indent=1) + "\n")
    verdicts = judge(records)
    about = f"{summary(machine)}\n{_took(machine['seconds']['all'], options.quick)}"
    _write(output / "table.md", markdown(records, skipped, verdicts, about))
    plot_rates(records, output / "rates.png")
    plot_ratios(records, output / "ratios.png")
    print_messages("Benchmarks", [*records, *skipped], about, console)
    print_verdicts(verdicts, console)
    console.print(f"Results are in '{output}'.")
    return 1 if any(item.failed for item in skipped) else 0


def _progress(console: Console) -> Progress:
    what = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Progress(
        BarColumn(bar_width=10, table_column=Column(width=10)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", table_column=what),
        console=console,
        expand=True,
    )


def _took(seconds: float, quick: bool) -> str:
    return f"{'Quick run' if quick else 'Full run'}, {seconds / 60:.1f} minutes"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; results.json holds the parts that were complete")
    except EKDError as error:
        sys.exit(f"error: {error}")
