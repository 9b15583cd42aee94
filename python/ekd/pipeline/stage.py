"""What a stage of a run is: its name, what it needs and leaves, its settings, and its work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from ekd.config import Config
from ekd.pipeline.stage_settings import flatten, identified_sections
from ekd.pipeline.workspace import Workspace

Check: TypeAlias = Callable[[Workspace], None]
"""Raises an error for what would otherwise stop a stage hours later."""


class Stage(ABC):
    """One stage of a run.

    Attributes:
        name: of the stage, as in ``stages.json``.
        needs: stages that must be complete before.
        uses: stages whose results it takes where they are there.
        section: section of the configuration without which the stage is passed over; None: it
            belongs to every run.
        sections: sections of the configuration that it reads. Its result depends on these and on
            those of the stages that it needs.
        leaves: what it writes into the output folder, and what is removed when it is done again.
        shows: what it writes beside that for people, and replaces without being asked.
        unfinished: what it leaves beside that when it is interrupted, and continues from.
        shares_training: whether several processes of torchrun may work on it.
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
        """Do the work, or what is left of it.

        Returns:
            what a caller may want to show; None: everything is in files.
        """

    def needed(self, config: Config) -> tuple[Stage, ...]:
        """Stages that must be complete before with this configuration."""
        return self.needs

    def has_section(self, config: Config) -> bool:
        """Whether the configuration has the section that the stage is for."""
        return self.section is None or getattr(config, self.section) is not None

    def settings(self, work: Workspace) -> dict[str, Any]:
        """Return everything that the result depends on, by dotted key."""
        stages = (*self.needed(work.config), self)
        names = {name for stage in stages for name in stage.sections}
        return flatten(identified_sections(work, names))

    def checks(self, work: Workspace) -> list[Check]:
        """What to look at before the first stage of a run starts."""
        return []

    def is_intact(self, work: Workspace) -> bool:
        """Whether complete results can be read."""
        return True

    def adopt(self, work: Workspace, needed_by: str) -> float | None:
        """Complete the stage from results that jobs of their own have left.

        Args:
            work: the run.
            needed_by: name of the stage that needs the results, for messages.

        Returns:
            the seconds that the longest job took; None: there are no such results.

        Raises:
            EKDError: some results are missing.
        """
        return None

    def all_sections(self) -> set[str]:
        """Sections of the configuration that the result may depend on."""
        return {name for stage in (*self.needs, self) for name in stage.sections}

    def outputs(self, folder: Path) -> list[Path]:
        """What of this stage is in an output folder, finished or not."""
        names = (*self.leaves, *self.unfinished)
        return [folder / name for name in names if (folder / name).exists()]

    def has_left_all(self, folder: Path) -> bool:
        """Whether all results are there; a stage without any is done whenever asked for."""
        return bool(self.leaves) and all((folder / name).exists() for name in self.leaves)


class PartedStage(Stage):
    """A stage whose parts can be done by jobs that share the output folder."""

    @abstractmethod
    def check_part(self, config: Config, part: int) -> None:
        """Refuse a part that does not exist.

        Raises:
            ConfigError: there is no such part.
        """

    @abstractmethod
    def part_folder(self, work: Workspace, part: int) -> Path:
        """Where the results of a part are."""

    @abstractmethod
    def run_part(self, work: Workspace, part: int) -> None:
        """Do one part, or what is left of it."""
