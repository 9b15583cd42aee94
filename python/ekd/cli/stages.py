"""The commands that run the pipeline or one of its stages."""

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
Generate thousands of geometries with energies and forces of a cheap calculator.

Requires a section `[pool]`. Writes `pool.h5`, a summary of its contents, `pool.json`, and a plot,
`pool.png`. By default, this uses GFN2-xTB (`pip install "ekd[xtb]"`), and makes rattled copies, MD
snapshots, stretched bonds and clusters from the training configurations and small molecules.
Finished chunks are kept: continue after an interruption with `ekd pool config.toml --resume`.
Details: docs/pool.md.
""",
    "pretrain": """
Train the networks that teachers and student start from (bases).

Requires a section `[pretraining]`. Writes `bases/`. The networks are trained on the pool, then on
the data set with energies and forces in `[pretraining.data]`, or on one of these. Instead of the
pool, they can start from a finished network, `checkpoint = "file.pt"`. After pretraining, teachers
need few epochs at a low learning rate, and the defaults change accordingly. Details:
docs/pretraining.md.
""",
    "train": """
Train the teachers on energies.

Writes `teachers/` in the output folder: the network and history of each member, and learning curves
and a parity plot of all. A checkpoint is written after each epoch and during long ones; an
interrupted training continues exactly with `ekd train config.toml --resume`.

**Examples**

    ekd train config.toml --resume                  all members, one process per core

    ekd train config.toml --member 3 --resume       one member, e.g. as job 3 of an array

    torchrun --nproc-per-node 2 -m ekd train config.toml    two processes per member

Members can differ in seed, split and settings. Details: docs/training.md.
""",
    "label": """
Compute the mean and spread of the teachers' forces on the training set.

Requires `ekd train`. Writes `labels.h5`. Teachers are the trained networks and those in
`[[labels.teachers]]`: any ASE calculator as `calculator = "module:Class"`, or another ekd network
as `checkpoint = "file.pt"`. Perturbed geometries, MD snapshots of the teachers and structures from
files can also be labeled (`[labels.perturbed]`, `[labels.md]`, `labels.structures`). Finished
chunks are kept: continue after an interruption with `ekd label config.toml --resume`.
""",
    "distill": """
Train the student on true energies and the teachers' mean forces.

Requires `ekd label`. Writes `student/`. `[student.spread]` sets the treatment of configurations on
which the teachers disagree.
""",
    "export": """
Write the student to `student.pt`, the file for LAMMPS and ASE.

Requires `ekd distill`. Use `ekd inspect` and `ekd check` to examine the file.

With `--portable`, or `portable = true` in `[export]`, the network in the file uses only standard
libtorch operations: any program can load it, on a CPU or GPU, without Python or ekd.
""",
    "lammps": """
Run molecular dynamics in LAMMPS with the exported student.

Runs a gas-phase molecule at constant energy and a periodic box of water, and compares both with
ASE. If a run fails, this is reported and the others continue. Requires `ekd export`. Writes
`lammps/`, including inputs and logs.
""",
    "report": """
Write `report.html`, `plots/` and `summary.json`.

Requires `ekd evaluate`. LAMMPS runs are included if there are any, and errors on the far set if
there is a section `[far]`.
""",
}

_RUN_HELP = """
Run the whole pipeline: teachers, labels, student, evaluation, export, LAMMPS, report.

If there are sections `[pool]` and `[pretraining]`, their stages run first.

**Examples**

    ekd run config.toml

    ekd run config.toml --resume                     continue; complete stages are skipped

    ekd run config.toml --from distill --overwrite   train a new student of the same teachers

    ekd run config.toml --output trial               write to another folder
"""


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("run", help=_RUN_HELP)(run)
    own = {"export": export, "train": train}
    for name in STAGES:
        if name == "evaluate":  # the command does more than the stage: see ekd.cli.evaluate
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
            "--from", metavar="STAGE", help=f"First stage to run, one of {', '.join(STAGES)}."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run all stages, or all stages from a given one."""
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
            help="Train only this member, 0 to n_members - 1. Other members may be trained at the "
            "same time in the same output folder.",
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
        bool, typer.Option("--portable", help="Use only standard libtorch operations.")
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
