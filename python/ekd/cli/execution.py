"""Run stages of the pipeline and show the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from ekd.config import Config
    from ekd.pipeline.record import Existing


def execute(
    config: Config, what: Existing, quiet: bool, names: Sequence[str], member: int | None = None
) -> None:
    """Run some stages, or the training of one teacher, and show the results."""
    from ekd.pipeline import run_summary
    from ekd.pipeline.runner import Pipeline
    from ekd.training.parallel import launched_group

    trained = {"pretrain": config.pretraining, "distill": config.student}
    section = trained.get(names[0]) or config.teachers
    with launched_group(section.training.device) as group:
        pipeline = Pipeline(config, what, progress=not quiet, group=group)
        if member is None:
            result = pipeline.run(names)
        else:
            pipeline.run_part("train", member)
            result = None
        if group.rank > 0:
            return
    console = Console()
    if result:
        console.print(run_summary.table(result))
        if (far := run_summary.far_table(result)) is not None:
            console.print(far)
        console.print(f"report: {config.output / 'report.html'}", soft_wrap=True, highlight=False)
    else:
        console.print(f"done: {config.output}", soft_wrap=True, highlight=False)
