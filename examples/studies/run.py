"""Run a study: train what its variants ask for, measure it, and write tables and a plot.

python run.py main.toml --data ~/botnet-datasets

Whatever is finished is kept in ``work/`` by a checksum of its settings, and shared by all studies:
an interrupted study goes on where it was, and another variant or seed costs only itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ekd.errors import ConfigError, EKDError
from liquid import flow
from liquid import write as write_liquid
from pieces import Row, Workshop
from study import HERE, Study, Variant, load_study
from survival import survive
from survival import write as write_survival
from tables import write


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Run a study; what is finished is found again, and an interruption costs an "
        "epoch of one training at most.",
        epilog="example: python run.py main.toml --data ~/botnet-datasets --seeds 0",
    )
    parser.add_argument("study", type=Path, help="a TOML file of this folder, or one like it")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("EKD_STUDY_DATA"),
        help="folder of the data that are not shipped (default: $EKD_STUDY_DATA)",
    )
    parser.add_argument("--sets", nargs="+", help="data sets of the study (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, help="seeds of the study (default: all)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="variants (default: all)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of all pieces")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of tables")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run, print the table, and return the exit status."""
    options, console = arguments(given), Console()
    try:
        study = load_study(options.study)
        chosen = _chosen(study, options)
        shop = Workshop(
            study, options.work, options.data, options.workers, progress=sys.stderr.isatty()
        )
        rows = measure(shop, chosen)
        folder = options.results / options.study.stem
        console.print(write(study, rows, folder), markup=False, soft_wrap=True)
        for asked, run, write_rows in (
            (study.survival, survive, write_survival),
            (study.liquid, flow, write_liquid),
        ):
            moved = [
                row
                for name, settings in asked.items()
                if name in (options.sets or study.sets)
                for seed in options.seeds or study.seeds
                for row in run(shop, name, seed, settings)
            ]
            if moved:
                console.print(write_rows(moved, folder), markup=False, soft_wrap=True)
        console.print(f"written to {folder}")
    except EKDError as error:
        console.print(f"error: {error}", markup=False, style="red")
        return 1
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on where it was", style="red")
        return 130
    return 0


def _chosen(study: Study, options: argparse.Namespace) -> list[tuple[str, int, Variant]]:
    """Data set, seed and variant of every student, in the order in which they are made."""
    for what, wanted, known in (
        ("data set", options.sets, study.sets),
        ("seed", options.seeds, study.seeds),
    ):
        for value in wanted or ():
            if value not in known:
                found = ", ".join(map(str, known))
                raise ConfigError(f"{what} {value} is not one of the study, which has {found}")
    only = [study.variant(name) for name in options.only or ()] or study.variants
    return [
        (name, seed, variant)
        for name in options.sets or study.sets
        for seed in options.seeds or study.seeds
        for variant in only
        if variant.is_for(name, seed)
    ]


def measure(shop: Workshop, chosen: Sequence[tuple[str, int, Variant]]) -> list[Row]:
    """Rows of the table; those of teachers once for every data set and seed, if all are alike."""
    rows: list[Row] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not shop.progress,
    ) as bars:
        bar = bars.add_task("study", total=len(chosen))
        known: set[tuple[str, int, str]] = set()
        for name, seed, variant in chosen:
            bars.update(bar, description=f"{name}, seed {seed}: {variant.name}")
            experiment = shop.experiment(variant, name, seed)
            teachers = (name, seed, experiment.settings.teachers_name)
            if teachers not in known:
                known.add(teachers)
                rows += experiment.reference.measure_teachers()
            rows += experiment.measure()
            bars.advance(bar)
    return rows


if __name__ == "__main__":
    sys.exit(main())
