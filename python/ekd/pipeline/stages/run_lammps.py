"""The stage ``lammps``: molecular dynamics with the exported student."""

from __future__ import annotations

from rich.markup import escape

from ekd.elements import symbol
from ekd.files import write_json
from ekd.lammps import student_runs
from ekd.pipeline import run_summary
from ekd.pipeline.checks import check_lammps
from ekd.pipeline.stage import Check, Stage
from ekd.pipeline.stages.export_student import EXPORT
from ekd.pipeline.workspace import Workspace


class RunLammps(Stage):
    """Simulate a molecule and a box of water, and compare with ASE."""

    name = "lammps"
    needs = (*EXPORT.needs, EXPORT)
    sections = ("lammps",)
    leaves = ("lammps",)

    def checks(self, work: Workspace) -> list[Check]:
        """Check LAMMPS and the molecule."""
        return [check_lammps]

    def run(self, work: Workspace) -> None:
        """Run all simulations and report those that failed."""
        result = student_runs.run(
            work.folder / "lammps",
            model=work.folder / "student.pt",
            known={symbol(number) for number in work.data.elements},
            config=work.config.lammps,
            seed=work.config.seed,
            progress=work.progress,
        )
        write_json(work.folder / "lammps" / "results.json", result)
        for sentence in run_summary.broken_off(result):
            work.console.print(f"[yellow]look:[/] {escape(sentence)}", soft_wrap=True)


LAMMPS = RunLammps()
