"""The verbs that run the pipeline: all of it, or one stage."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import typer

from ekd.cli import evaluate
from ekd.cli.execution import execute
from ekd.cli.options import ConfigPath, Output, Overwrite, Quiet, Resume, existing, load
from ekd.pipeline.order import STAGES, verb

Stage = Enum("Stage", {name: name for name in STAGES}, type=str)  # type: ignore[misc]

_HELP = {
    "pool": """
Make geometries by the thousand, with energies and forces of a cheap calculator.

Leaves `pool.h5`, and of what is in it a summary, `pool.json`, and a picture, `pool.png`. Needs a
section `[pool]`; its defaults take GFN2-xTB (`pip install "ekd[xtb]"`), and make rattled copies,
snapshots of MD, stretched bonds and clusters of the training configurations and of small molecules.
Finished chunks are kept: `ekd pool config.toml --resume` continues after any interruption. All of
it: docs/pool.md.
""",
    "pretrain": """
Train the networks that teachers and student start from.

Leaves `bases/`. Needs a section `[pretraining]`. They learn the pool of `ekd pool` and then the
data set with energies and forces that `[pretraining.data]` names, or one of both; or they start
from a finished network, `checkpoint = "file.pt"`, instead of the pool. After it teachers need few
epochs at a low rate, which are the defaults then. All of it: docs/pretraining.md.
""",
    "train": """
Train the teachers on energies.

Leaves `teachers/` in the output folder: of every member the network and its history, and of all
learning curves and a parity plot. A checkpoint is written after every epoch and within long ones,
so that `ekd train config.toml --resume` continues exactly where an interrupted training stopped.

**Examples**

    ekd train config.toml --resume                  all members, one process per core

    ekd train config.toml --member 3 --resume       one member, e.g. as job 3 of an array

    torchrun --nproc-per-node 2 -m ekd train config.toml    each member by two processes

Members can differ in seed, split and settings. All of it: docs/training.md.
""",
    "label": """
Ask the teachers for forces: mean and spread for every atom of the training set.

Leaves `labels.h5`. Needs `ekd train`. Teachers are those that were trained, and whatever else
`[[labels.teachers]]` names: any calculator of ASE as `calculator = "module:Class"`, or another
network of ekd as `checkpoint = "file.pt"`. Perturbed geometries, MD snapshots of the teachers and
structures from files can be labelled too (`[labels.perturbed]`, `[labels.md]`,
`labels.structures`). Finished chunks are kept: `ekd label config.toml --resume` continues after any
interruption.
""",
    "distill": """
Train the student on true energies and mean forces.

Leaves `student/`. Needs `ekd label`. What follows where the teachers disagree is said in
`[student.spread]`.
""",
    "export": """
Write the student to `student.pt`, the file that LAMMPS and ASE run.

Needs `ekd distill`. Look at the file with `ekd inspect` and `ekd check`.

With `--portable`, or `portable = true` in `[export]`, the network in the file consists of
operations that every libtorch has: any program can load it, on the CPU or a GPU, with neither
Python nor ekd.
""",
    "lammps": """
Run molecular dynamics in LAMMPS with the exported student.

A gas-phase molecule at constant energy, a periodic box of water, and both compared with ASE. A run
that breaks off is reported, and the others go on. Leaves `lammps/`, inputs and logs included. Needs
`ekd export`.
""",
    "report": """
Write `report.html`, `plots/` and `summary.json`.

Needs `ekd evaluate`; shows the LAMMPS runs too if there are any. With a set in `[far]` the errors
on it are shown beside those on the test set.
""",
}

_RUN_HELP = """
Run the whole pipeline: teachers, labels, student, evaluation, export, LAMMPS, report.

With sections `[pool]` and `[pretraining]` it begins with those.

**Examples**

    ekd run config.toml

    ekd run config.toml --resume                     continue; complete stages are skipped

    ekd run config.toml --from distill --overwrite   a new student of the same teachers

    ekd run config.toml --output trial               write to another folder
"""


def register(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    app.command("run", help=_RUN_HELP)(run)
    own = {"export": export, "train": train}
    for name in STAGES:
        if name == "evaluate":  # which does more than the stage: see ekd.cli.evaluate
            evaluate.register(app)
            continue
        app.command(verb(name), help=_HELP[name])(own.get(name) or _command(name))


def run(
    config: ConfigPath,
    output: Output = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    first: Annotated[
        Stage | None,
        typer.Option(
            "--from", metavar="STAGE", help=f"Start with this stage, one of {', '.join(STAGES)}."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run every stage, or every stage from one on."""
    begin = STAGES.index(first.value) if first else 0
    what = existing(resume, overwrite)
    execute(load(config, output), what, quiet, STAGES[begin:])


def train(
    config: ConfigPath,
    output: Output = None,
    member: Annotated[
        int | None,
        typer.Option(
            "--member",
            metavar="K",
            help="Train this member alone, 0 to n_members - 1. Other members may be trained at the "
            "same time, with the same output folder.",
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train all teachers, or one."""
    execute(load(config, output), existing(resume, overwrite), quiet, ["train"], member)


def export(
    config: ConfigPath,
    output: Output = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="Only operations that every libtorch has.")
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write the student to a file."""
    settings = load(config, output)
    if portable:
        portable_export = settings.export.model_copy(update={"portable": True})
        settings = settings.model_copy(update={"export": portable_export})
    execute(settings, existing(resume, overwrite), quiet, ["export"])


def _command(name: str) -> Callable[..., Any]:
    def stage(
        config: ConfigPath,
        output: Output = None,
        resume: Resume = False,
        overwrite: Overwrite = False,
        quiet: Quiet = False,
    ) -> None:
        what = existing(resume, overwrite)
        execute(load(config, output), what, quiet, [name])

    return stage
