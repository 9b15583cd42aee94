"""Base classes for the stages of a run: requirements, outputs, settings and work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from ekd.config import Config
from ekd.pipeline.stage_settings import flatten, identified_sections
from ekd.pipeline.workspace import Workspace

Check: TypeAlias = Callable[[Workspace], None]
"""Raises an error for a problem that would otherwise stop a stage hours later."""


class Stage(ABC):
    """One stage of a run.

    Attributes:
        name: name of the stage, as in ``stages.json``.
        needs: stages that must be complete before.
        uses: stages whose results are used if they exist.
        section: section of the configuration without which the stage is skipped; None: always run.
        sections: sections of the configuration that the stage reads. Its result depends on these
            and on those of the stages that it needs.
        leaves: results in the output folder, removed when the stage is run again.
        shows: additional output for users, always replaced.
        unfinished: intermediate files, used to continue an interrupted stage.
        shares_training: whether several processes of torchrun may share the stage.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[Stage, ...]] = ()
    uses: ClassVar[tuple[Stage, ...]] = ()
    section: ClassVar[str | None] = None
    sections: ClassVar[tuple[str, ...]] = ()
    leaves: ClassVar[tuple[str, ...]] = ()
    shows: ClassVar[tuple[str, ...]] = ()
    unfinished: ClassVar[tuple[str, ...]] = ()
    shares_training: ClassVar[bool] = False

    @abstractmethod
    def run(self, work: Workspace) -> dict[str, Any] | None:
        """Run the stage, or the rest of it.

        Returns:
            results for display; None: all results are in files.
        """

    def needed(self, config: Config) -> tuple[Stage, ...]:
        """Return the stages that must be complete before, for this configuration."""
        return self.needs

    def has_section(self, config: Config) -> bool:
        """Whether the configuration has the section of the stage."""
        return self.section is None or getattr(config, self.section) is not None

    def settings(self, work: Workspace) -> dict[str, Any]:
        """Return all settings that the result depends on, by dotted key."""
        stages = (*self.needed(work.config), self)
        names = {name for stage in stages for name in stage.sections}
        return flatten(identified_sections(work, names))

    def checks(self, work: Workspace) -> list[Check]:
        """Return the checks to do before the first stage of a run."""
        return []

    def is_intact(self, work: Workspace) -> bool:
        """Whether complete results can be read."""
        return True

    def adopt(self, work: Workspace, needed_by: str) -> float | None:
        """Complete the stage from results of separate jobs.

        Args:
            work: the run.
            needed_by: name of the stage that needs the results, for messages.

        Returns:
            duration of the longest job in seconds; None: there are no such results.

        Raises:
            EKDError: some results are missing.
        """
        return None

    def all_sections(self) -> set[str]:
        """Sections of the configuration that the result may depend on."""
        return {name for stage in (*self.needs, self) for name in stage.sections}

    def outputs(self, folder: Path) -> list[Path]:
        """Return files of this stage in an output folder, finished or not."""
        names = (*self.leaves, *self.unfinished)
        return [folder / name for name in names if (folder / name).exists()]

    def has_left_all(self, folder: Path) -> bool:
        """Whether all results exist; False for a stage without results, which always runs."""
        return bool(self.leaves) and all((folder / name).exists() for name in self.leaves)


class PartedStage(Stage):
    """A stage whose parts can be run by separate jobs that share the output folder."""

    @abstractmethod
    def check_part(self, config: Config, part: int) -> None:
        """Refuse a part that does not exist.

        Raises:
            ConfigError: there is no such part.
        """

    @abstractmethod
    def part_folder(self, work: Workspace, part: int) -> Path:
        """Return the folder of the results of a part."""

    @abstractmethod
    def run_part(self, work: Workspace, part: int) -> None:
        """Run one part, or the rest of it."""
