"""The command ``committee``: write several students to one file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ekd.errors import EKDError


class Dtype(StrEnum):
    """Precision of the exported file."""

    float64 = "float64"
    float32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("committee")(committee)


def committee(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Output folders of runs, or checkpoints of students."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write, *.pt.")
    ],
    dtype: Annotated[Dtype, typer.Option(help="Precision in MD.")] = Dtype.float64,
    description: Annotated[str, typer.Option(help="Free text for the model card.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write the students of several runs to one file, which predicts their mean.

    The disagreement of the students is available as an error estimate: in LAMMPS through `fix pair`
    and `compute pair`, in the ASE calculator as `forces_std` and `energy_std`. The students must
    have the same architecture and elements. A run with `[student] n_members = 4` trains such
    students itself, and its `student.pt` is a committee.

    **Examples**

        ekd committee run-a run-b run-c --output committee.pt

        ekd committee run/student/member-0/checkpoint.pt other-run -o committee.pt --dtype float32
    """
    from ekd.distillation import load_students
    from ekd.training import Ensemble

    if output.exists() and not overwrite:
        raise EKDError(
            f"'{output}' already exists; add --overwrite to replace it, or choose another --output",
            code="EKD-RUN-001",
        )
    students = Ensemble([member for run in runs for member in load_students(run).members])
    students.export(output, dtype=dtype.value, description=description)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"done: {output}, {len(students)} students")
    with_head = sum(member.model.has_uncertainty for member in students.members)
    if 0 < with_head < len(students):
        console.print(
            f"note: only {with_head} of them have an uncertainty output; the file omits it, as it "
            "needs all of them"
        )
