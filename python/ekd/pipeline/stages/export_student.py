"""The stage ``export``: the file that LAMMPS and ASE run."""

from __future__ import annotations

from ekd.pipeline.stage import Stage
from ekd.pipeline.stages.distill_student import DISTILL
from ekd.pipeline.workspace import Workspace


class ExportStudent(Stage):
    """Write the student to a file."""

    name = "export"
    needs = (*DISTILL.needs, DISTILL)
    sections = ("export",)
    leaves = ("student.pt",)

    def run(self, work: Workspace) -> None:
        """Write ``student.pt``."""
        section = work.config.export
        work.students.export(
            work.folder / "student.pt",
            dtype=section.dtype,
            description=section.description,
            portable=section.portable,
        )


EXPORT = ExportStudent()
