"""The stage ``report``: the results of the other stages on one page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ekd.pipeline import run_summary
from ekd.pipeline.stage import Stage
from ekd.pipeline.stage_settings import default_settings
from ekd.pipeline.stages.export_student import EXPORT
from ekd.pipeline.stages.measure_errors import EVALUATE
from ekd.pipeline.stages.run_lammps import LAMMPS
from ekd.pipeline.workspace import Workspace


class WriteReport(Stage):
    """Write the report, always anew from the results of the other stages."""

    name = "report"
    needs = (*EVALUATE.needs, EVALUATE)
    uses = (LAMMPS,)
    shows = ("report.html", "summary.json", "plots")

    def run(self, work: Workspace) -> dict[str, Any]:
        """Write report, plots and summary.

        Returns:
            the summary, see :func:`ekd.pipeline.run_summary.summarize`.
        """
        start = time.perf_counter()
        record = work.record
        evaluation = _read_json(work.folder / "evaluation" / "metrics.json")
        with_lammps = record.is_complete(LAMMPS.name) and not record.differences(
            LAMMPS.name, LAMMPS.settings(work), default_settings()
        )
        dynamics = _read_json(work.folder / "lammps" / "results.json") if with_lammps else None
        figures = run_summary.draw(
            work.folder, evaluation, dynamics, work.truth, work.far, work.config.vector_plots
        )
        others = (*self.needs, EXPORT, LAMMPS)
        seconds = {
            stage.name: record.entries[stage.name].wall_seconds
            for stage in others
            if record.is_complete(stage.name)
        }
        seconds[self.name] = time.perf_counter() - start
        result = run_summary.summarize(evaluation, dynamics, seconds)
        run_summary.write(
            work.folder,
            result,
            figures,
            dynamics,
            training_set=work.data,
            truth=work.truth,
            held_out=evaluation["held_out"],
            far=work.far,
        )
        return result


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


REPORT = WriteReport()
