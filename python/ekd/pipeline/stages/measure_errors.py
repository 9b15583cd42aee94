"""The stage ``evaluate``: errors of teachers, ensemble and student on the test sets."""

from __future__ import annotations

from typing import Any

from ekd.data import Dataset
from ekd.files import write_json
from ekd.pipeline.checks import check_teachers
from ekd.pipeline.evaluation import FAR, NEAR, Measured
from ekd.pipeline.stage import Check, Stage
from ekd.pipeline.stages.distill_student import DISTILL
from ekd.pipeline.workspace import Workspace


class MeasureErrors(Stage):
    """Measure all models on the test set and on the far set."""

    name = "evaluate"
    needs = (*DISTILL.needs, DISTILL)
    sections = ("test", "far")
    leaves = ("evaluation",)

    def checks(self, work: Workspace) -> list[Check]:
        """Check the teachers."""
        return [check_teachers]

    def run(self, work: Workspace) -> None:
        """Predict with all models; write predictions and errors."""
        folder = work.folder / "evaluation"

        def measured(truth: Dataset, held_out: str, name: str) -> dict[str, Any]:
            found = Measured.of(truth, work.teachers, work.students)
            found.save(folder / name)
            return found.errors | {
                "held_out": held_out,
                "teacher_names": [teacher.name for teacher in work.teachers],
                "n_students": len(work.students),
            }

        held_out = "test set" if work.test is not None else "validation split"
        result = measured(work.truth, held_out, NEAR)
        result["far"] = None if work.far is None else measured(work.far, "far set", FAR)
        write_json(folder / "metrics.json", result)


EVALUATE = MeasureErrors()
