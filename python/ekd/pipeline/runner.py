"""Runs stages in order, keeps complete results, and refuses results that do not match."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ekd import interruption
from ekd.config import RESOLVED, Config, write_config
from ekd.errors import ConfigError, EKDError, find_code
from ekd.files import remove
from ekd.locks import lock_file, locked_folder
from ekd.pipeline.checks import check_test_sets
from ekd.pipeline.manifest import MANIFEST, Manifest
from ekd.pipeline.order import STAGES, verb
from ekd.pipeline.record import Existing, Record
from ekd.pipeline.stage import PartedStage, Stage
from ekd.pipeline.stage_settings import default_settings
from ekd.pipeline.stages import BY_NAME
from ekd.pipeline.workspace import Workspace
from ekd.training.parallel import ALONE, Group


class Pipeline:
    """All stages for one configuration, in one output folder.

    Args:
        config: from :func:`ekd.config.load_config`.
        existing: what to do with existing results.
        progress: show progress bars and a line per stage.
        group: processes that share the training; the first one writes all files.

    Attributes:
        work: settings, folder, data and models of the run.
        manifest: inputs and environments of the results.
    """

    def __init__(
        self,
        config: Config,
        existing: Existing = Existing.REFUSE,
        progress: bool = True,
        group: Group = ALONE,
    ) -> None:
        self.config = config
        self.folder = config.output
        self.existing = existing
        self.work = Workspace(config, progress, group)
        self.manifest = Manifest.load(self.folder / MANIFEST, writable=self.work.writes)
        self._stages: Mapping[str, Stage] = BY_NAME
        self._intact: dict[str, bool] = {}

    @property
    def record(self) -> Record:
        """Completed work in the output folder."""
        return self.work.record

    def run(self, stages: Sequence[str] = STAGES) -> dict[str, Any] | None:
        """Run some stages in their order.

        All possible checks are done before the first stage starts.

        Args:
            stages: names, in any order.

        Returns:
            the result of the last stage; for ``report``, the summary, see
            :func:`ekd.pipeline.run_summary.summarize`. None: it was kept, or all results are in
            files.

        Raises:
            EKDError: results already exist, earlier stages are missing, or a stage fails.
        """
        asked = [stage for stage in self._stages.values() if stage.name in stages]
        chosen = [stage for stage in asked if self._is_wanted(stage, len(asked) == 1)]
        self._check_processes(chosen)
        self._check_all(chosen)
        self._check_inputs([stage for stage in chosen if not self._is_done(stage)])
        with self._locked():
            self._check_all(chosen)  # another process may have worked here until now
            self._write_config()
            result = None
            for stage in chosen:
                result = self._run(stage)
        return result

    def _run(self, stage: Stage) -> dict[str, Any] | None:
        interruption.check()
        console = self.work.console
        if self._is_done(stage):
            console.print(f"[dim]{stage.name}: complete, kept[/dim]")
            return None
        console.print(f"[bold]{stage.name}[/bold]")
        if self.existing is Existing.OVERWRITE and self.work.writes:
            self._remove(stage)
        resumed = not self._differences(stage)
        with self.record.timed(stage.name, stage.settings(self.work)):
            self.manifest.begin(stage.name, resumed, self.config)
            result = stage.run(self.work)
            self.manifest.finish(stage.name, self.config)
        return result

    def run_part(self, name: str, part: int) -> None:
        """Run one part of a stage, as one of several jobs that share the output folder.

        The next stage marks the stage as complete once all parts are.

        Args:
            name: name of the stage: ``train``, whose parts are teachers.
            part: index of the part.

        Raises:
            EKDError: the part does not exist, has results already, or fails.
        """
        stage = self._stages[name]
        assert isinstance(stage, PartedStage)
        stage.check_part(self.config, part)
        self._check_needed(stage, coming=[])
        self._check_inputs([stage])
        folder = stage.part_folder(self.work, part)
        if folder.exists() and self.existing is Existing.REFUSE:
            raise _in_the_way(folder)
        with self._locked(shared=True):
            if self.existing is Existing.RESUME:
                self._require_same_settings(stage)
            self._write_config()
            if self.existing is Existing.OVERWRITE and self.work.writes:
                with locked_folder(folder):
                    for path in folder.iterdir():
                        if path != lock_file(folder):
                            remove(path)
            stage.run_part(self.work, part)

    def settings(self, stage: str) -> dict[str, Any]:
        """Return all settings that the result of a stage depends on, by dotted key."""
        return self._stages[stage].settings(self.work)

    def setting_differences(self, stage: str) -> list[str]:
        """Describe the settings that have changed since the results of a stage were made."""
        return self._differences(self._stages[stage])

    def _differences(self, stage: Stage) -> list[str]:
        settings = stage.settings(self.work)
        return self.record.differences(stage.name, settings, default_settings())

    @contextlib.contextmanager
    def _locked(self, shared: bool = False) -> Iterator[None]:
        """Lock the output folder against writing by other processes.

        Args:
            shared: allow processes that run other parts of the same stage.

        Raises:
            EKDError: another process is using the folder.
        """
        with contextlib.ExitStack() as stack:
            problem = None
            if self.work.writes:
                try:
                    stack.enter_context(locked_folder(self.folder, shared))
                except EKDError as error:
                    problem = str(error)
            problem = self.work.group.from_first(problem)
            if problem is not None:
                raise EKDError(problem, code=find_code(problem))
            self.work.reload_record()
            yield

    def _write_config(self) -> None:
        """Write the settings to the output folder, after all processes have checked the results."""
        self.work.group.barrier()
        if self.work.writes:
            write_config(self.config, self.folder / RESOLVED)

    def _is_done(self, stage: Stage) -> bool:
        return (
            self.existing is Existing.RESUME
            and self.record.is_complete(stage.name)
            and stage.has_left_all(self.folder)
            and self._is_intact(stage)
        )

    def _is_intact(self, stage: Stage) -> bool:
        """Whether results can be read; checked only once."""
        if stage.name not in self._intact:
            self._intact[stage.name] = stage.is_intact(self.work)
        return self._intact[stage.name]

    def _remove(self, stage: Stage) -> None:
        self.record.forget(stage.name)
        self.manifest.forget(stage.name)
        for path in stage.outputs(self.folder):
            remove(path)

    def _is_wanted(self, stage: Stage, is_only: bool) -> bool:
        """Whether to run a stage; a stage without its section is skipped.

        Raises:
            ConfigError: it is the only stage, and the configuration lacks the section.
        """
        if stage.has_section(self.config):
            return True
        if not is_only:
            return False
        name, section = stage.name, stage.section
        raise ConfigError(
            f"'{name}' needs a section [{section}], which the configuration lacks; add one; "
            f"the line '[{section}]' alone uses the defaults",
            code="EKD-CONFIG-026",
        )

    def _check_processes(self, stages: Sequence[Stage]) -> None:
        n_ranks = self.work.group.n_ranks
        others = [stage.name for stage in stages if not stage.shares_training]
        if n_ranks > 1 and others:
            *names, last = [f"'{s.name}'" for s in self._stages.values() if s.shares_training]
            shared = f"{', '.join(names)} and {last}"
            raise EKDError(
                f"torchrun started {n_ranks} processes of '{others[0]}', which uses one; only "
                f"{shared} can use several. Run it without torchrun",
                code="EKD-RUN-005",
            )

    def _check_all(self, stages: Sequence[Stage]) -> None:
        """Refuse to start if results exist, or if earlier results are missing or stale."""
        for stage in stages:
            self._check_needed(stage, coming=stages)
            if outputs := stage.outputs(self.folder):
                if self.existing is Existing.REFUSE:
                    raise _in_the_way(outputs[0])
                if self.existing is Existing.RESUME:
                    self._require_same_settings(stage)

    def _check_needed(self, stage: Stage, coming: Sequence[Stage]) -> None:
        """Refuse to start if earlier results are missing or stale."""
        for needed in stage.needed(self.config):
            if needed in coming or not needed.has_section(self.config):
                continue
            name = needed.name
            if not self.record.is_complete(name):
                self._adopt(needed, stage)
            if not self.record.is_complete(name):
                raise EKDError(
                    f"'{verb(stage.name)}' needs the results of '{name}', which are not in "
                    f"'{self.folder}'; run 'ekd {name}' with this configuration first",
                    code="EKD-RUN-007",
                )
            self._require_same_settings(needed)

    def _adopt(self, stage: Stage, needed_by: Stage) -> None:
        """Complete a stage whose parts were run by separate jobs, once all parts exist."""
        seconds = stage.adopt(self.work, needed_by.name)
        if seconds is None:
            return
        self.manifest.begin(stage.name, resumed=False, config=self.config)
        self.manifest.finish(stage.name, self.config)
        self.record.adopt(stage.name, stage.settings(self.work), seconds)

    def _require_same_settings(self, stage: Stage) -> None:
        differences, name = self._differences(stage), stage.name
        if differences:
            listed = "\n  ".join(differences)
            raise EKDError(
                f"the results of '{name}' in '{self.folder}' were made with other settings:\n"
                f"  {listed}\n"
                "choose another folder with --output, or make them again with "
                f"'ekd run --from {name} --overwrite'",
                code="EKD-RUN-006",
            )

    def _check_inputs(self, stages: Sequence[Stage]) -> None:
        """Find problems now that would otherwise stop a stage hours later."""
        check_test_sets(self.work)
        for check in dict.fromkeys(check for stage in stages for check in stage.checks(self.work)):
            check(self.work)


def _in_the_way(path: Path) -> EKDError:
    return EKDError(
        f"'{path}' already exists; add --resume to keep what is complete and continue, --overwrite "
        "to remove it and start again, or choose another folder with --output",
        code="EKD-RUN-001",
    )
