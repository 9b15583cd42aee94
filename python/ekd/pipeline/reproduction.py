"""Run stages again in another folder, and compare the results."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ekd.config import RESOLVED, Config, load_config, validate_config
from ekd.errors import ConfigError, DataError, EKDError
from ekd.pipeline.content import (
    TOLERANCE,
    Comparison,
    Verdict,
    compare_files,
    content_sha256,
    is_compared,
)
from ekd.pipeline.environment import describe_environment, environment_differences
from ekd.pipeline.manifest import (
    MANIFEST,
    Manifest,
    described_config,
    input_files,
    missing_or_changed,
    results_of_stage,
)
from ekd.pipeline.order import STAGES, verb
from ekd.pipeline.record import Existing, Record
from ekd.pipeline.runner import Pipeline
from ekd.pipeline.stages import BY_NAME

_RECORD = "stages.json"


@dataclass(frozen=True)
class ResultComparison:
    """A result file and its comparison with the second run."""

    stage: str
    path: str
    comparison: Comparison


class Reproduction:
    """Reproduction of stages of an output folder.

    Args:
        folder: output folder of a finished run, with ``manifest.json``.
        stages: stages to run again; None: all stages that are complete in the manifest.
        inputs: folder to search by name for input files that have been moved; None: use only the
            paths of the configuration.

    Raises:
        ConfigError: ``config.resolved.toml`` is missing, or does not match the manifest.
        DataError: an input is missing or has changed, or a result has.
        EKDError: there is no manifest, or a stage is not complete.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        stages: Sequence[str] | None = None,
        inputs: str | os.PathLike[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.manifest = _load_manifest(self.folder)
        self.stages = self._chosen(stages)
        self.config = self._located(None if inputs is None else Path(inputs))
        self._check_inputs()
        self._check_results()

    @property
    def kept(self) -> list[str]:
        """Stages whose results are copied, because the reproduced stages need them."""
        chosen = [BY_NAME[name] for name in self.stages]
        needed = {other.name for stage in chosen for other in (*stage.needs, *stage.uses)}
        complete = self.manifest.complete
        return [s for s in STAGES if s in needed and s not in self.stages and s in complete]

    def environment_differences(self) -> list[tuple[str, str, str]]:
        """Differences between the old and the current environment: name, old value, new value."""
        now = describe_environment()
        found = [
            difference
            for stage in self.stages
            for there in self.manifest.environments_of(stage)
            for difference in environment_differences(there, now)
        ]
        return list(dict.fromkeys(found))

    def run(self, output: Path, resume: bool = False, progress: bool = True) -> None:
        """Run the stages in another folder.

        Args:
            output: folder, created if missing; results of earlier stages are copied there.
            resume: continue an interrupted reproduction in this folder.
            progress: show the progress of the stages.

        Raises:
            EKDError: the folder is not empty or is inside that of the run, or a stage fails.
        """
        if self.folder.resolve() in (output.resolve(), *output.resolve().parents):
            raise EKDError(
                f"'{output}' is inside '{self.folder}', the folder of the run; choose another one "
                "with --output",
                code="EKD-RUN-017",
            )
        if output.exists() and not output.is_dir():
            raise EKDError(f"'{output}' is a file; name a folder with --output", code="EKD-RUN-012")
        if output.is_dir() and any(output.iterdir()) and not resume:
            raise EKDError(
                f"folder '{output}' is not empty; choose another one with --output, or add "
                "--resume to continue a reproduction that was interrupted there",
                code="EKD-RUN-001",
            )
        self._take_over(output)
        config = self.config.model_copy(update={"output": output.resolve()})
        Pipeline(config, Existing.RESUME, progress=progress).run(self.stages)

    def compare(self, output: Path, tolerance: float = TOLERANCE) -> list[ResultComparison]:
        """Compare all results of the stages with those of the run.

        If a result is no longer in the folder of the run, its recorded checksum is used.

        Args:
            output: folder of the reproduction.
            tolerance: see :func:`ekd.pipeline.content.compare_files`.

        Raises:
            EKDError: a file is damaged.
        """
        found = []
        for stage in self.stages:
            noted = self.manifest.stages[stage]["results"]
            now = {
                path.relative_to(output).as_posix(): path
                for path in results_of_stage(output, stage)
            }
            for name in sorted({*noted, *now}):
                if not is_compared(name):
                    continue
                if name not in now:
                    comparison = Comparison(Verdict.MISSING, None)
                elif name not in noted:
                    comparison = Comparison(Verdict.EXTRA, None)
                elif (self.folder / name).is_file():
                    comparison = compare_files(self.folder / name, now[name], tolerance)
                else:
                    comparison = _compare_with_checksum(noted[name], now[name])
                found.append(ResultComparison(stage, name, comparison))
        return found

    def _chosen(self, stages: Sequence[str] | None) -> list[str]:
        complete = self.manifest.complete
        for stage in stages or ():
            if stage not in STAGES:
                raise EKDError(
                    f"there is no stage '{stage}'; expected some of {', '.join(STAGES)}",
                    code="EKD-CONFIG-019",
                )
            if stage not in complete:
                raise EKDError(
                    f"'{stage}' is not complete in '{self.manifest.path}', which has "
                    f"{', '.join(s for s in STAGES if s in complete) or 'no stage'}; leave it out "
                    "of --stages",
                    code="EKD-RUN-018",
                )
        chosen = [s for s in STAGES if s in (stages or complete)]
        if not chosen:
            raise EKDError(
                f"no stage is complete in '{self.manifest.path}'; finish one with "
                "'ekd run CONFIG --resume'",
                code="EKD-RUN-018",
            )
        return chosen

    def _located(self, inputs: Path | None) -> Config:
        """Return the configuration of the run, with the current paths of its input files."""
        path = self.folder / RESOLVED
        config = load_config(path)
        if described_config(config) != self.manifest.configuration:
            raise ConfigError(
                f"'{path}' has other settings than '{self.manifest.path}', so it is not the "
                "configuration of these results; restore it, or run the stages again",
                code="EKD-RUN-019",
            )
        if inputs is None:
            return config
        if not inputs.is_dir():
            raise EKDError(
                f"'{inputs}' is not a folder; name the folder of the input files",
                code="EKD-RUN-012",
            )
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        for key, place in input_files(config).items():
            entry = self.manifest.inputs.get(key)
            if entry is None or place.is_file() or key.endswith("calculator"):
                continue
            if (found := inputs / entry["name"]).is_file():
                _set(raw, key, str(found.resolve()))
        return validate_config(raw, base=path.parent, source=f"'{path}'")

    def _check_inputs(self) -> None:
        keys = {key for stage in self.stages for key in self.manifest.stages[stage]["inputs"]}
        entries = {key: self.manifest.inputs[key] for key in sorted(keys)}
        places = input_files(self.config)
        missing, changed = missing_or_changed(entries, places)
        lines = [
            f"{key}: '{places.get(key, entries[key]['name'])}' {what}"
            for keys, what in (
                (missing, "is missing"),
                (changed, "is not the file that the run used"),
            )
            for key in keys
        ]
        if lines:
            raise DataError(
                "inputs of the run are missing or have changed:\n  "
                + "\n  ".join(lines)
                + "\nrestore them; --inputs FOLDER looks for missing files in another folder",
                code="EKD-RUN-020",
            )

    def _check_results(self) -> None:
        """Check that results to compare or to copy match the manifest."""
        config = self.config.model_copy(update={"output": self.folder.resolve()})
        pipeline = Pipeline(config, Existing.RESUME, progress=False)
        for stage in (*self.stages, *self.kept):
            if differences := pipeline.setting_differences(stage):
                raise EKDError(
                    f"the results of '{stage}' in '{self.folder}' were made with other settings "
                    "than the last run there:\n  "
                    + "\n  ".join(differences)
                    + f"\nrun 'ekd {verb(stage)}' with --overwrite, or leave the stage out of "
                    "--stages",
                    code="EKD-RUN-006",
                )
            noted = self.manifest.stages[stage]["results"]
            relevant = {name: entry for name, entry in noted.items() if is_compared(name)}
            missing, changed = missing_or_changed(
                relevant, {name: self.folder / name for name in relevant}
            )
            if changed:
                raise DataError(
                    f"results of '{stage}' in '{self.folder}' have changed since they were "
                    f"written: {', '.join(changed[:5])}; run 'ekd {verb(stage)}' with --overwrite, "
                    "or leave the stage out of --stages",
                    code="EKD-RUN-021",
                )
            if missing and stage in self.kept:
                raise DataError(
                    f"'{self.folder / missing[0]}' is missing, a result of '{stage}' that is "
                    f"needed; reproduce '{stage}' too",
                    code="EKD-RUN-021",
                )

    def _take_over(self, output: Path) -> None:
        """Copy results of earlier stages that are needed, and record these stages as complete."""
        there = Record.load(self.folder / _RECORD)
        record = Record.load(output / _RECORD)
        for stage in self.kept:
            if record.is_complete(stage):
                continue
            if stage not in there.entries:
                raise EKDError(
                    f"'{there.path}' lacks the stage '{stage}'; restore it, or reproduce '{stage}' "
                    "too",
                    code="EKD-RUN-021",
                )
            for name in BY_NAME[stage].leaves:
                _copy(self.folder / name, output / name)
            entry = there.entries[stage]
            record.adopt(stage, entry.settings, entry.wall_seconds)


def _load_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise EKDError(
            f"there is no '{path}'; give the output folder of a run. Runs of versions without "
            "manifests cannot be reproduced by this command: run them again",
            code="EKD-RUN-016",
        )
    return Manifest.load(path, writable=False)


def _set(raw: Any, key: str, value: str) -> None:
    """Replace a value in nested tables and lists by its dotted key."""
    *parents, last = key.split(".")
    for name in parents:
        raw = raw[int(name)] if isinstance(raw, list) else raw[name]
    raw[int(last) if isinstance(raw, list) else last] = value


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def _compare_with_checksum(entry: Mapping[str, Any], path: Path) -> Comparison:
    if "content_sha256" in entry:
        same = content_sha256(path) == entry["content_sha256"]
    else:
        _, changed = missing_or_changed({"": entry}, {"": path})
        same = not changed
    return Comparison(Verdict.EQUAL) if same else Comparison(Verdict.DIFFERENT, None, "checksum")


def counts_table(found: Sequence[ResultComparison]) -> Table:
    """Return the numbers of results by stage and verdict, for the terminal."""
    table = Table(title="Results", title_justify="left")
    table.add_column("stage")
    for heading in ("bitwise equal", "equal within tolerance", "different"):
        table.add_column(heading, justify="right")
    for stage in dict.fromkeys(one.stage for one in found):
        verdicts = [one.comparison.verdict for one in found if one.stage == stage]
        n_equal, n_close = verdicts.count(Verdict.EQUAL), verdicts.count(Verdict.CLOSE)
        n_different = len(verdicts) - n_equal - n_close
        table.add_row(
            stage,
            str(n_equal),
            f"[yellow]{n_close}[/]" if n_close else "0",
            f"[bold red]{n_different}[/]" if n_different else "0",
        )
    return table


def deviations_table(found: Sequence[ResultComparison]) -> Table | None:
    """Return a table of results that are not bitwise equal; None if all are."""
    table = Table(title="Not bitwise equal", title_justify="left")
    for heading in ("result", "", "largest deviation"):
        table.add_column(heading, overflow="fold")
    for one in found:
        if one.comparison.verdict is not Verdict.EQUAL:
            style = "yellow" if one.comparison.passed else "bold red"
            verdict = f"[{style}]{one.comparison.verdict.value}[/]"
            table.add_row(one.path, verdict, escape(_deviation(one.comparison)))
    return table if table.row_count else None


def _deviation(comparison: Comparison) -> str:
    if comparison.deviation is None:
        return comparison.where
    return f"{comparison.deviation:.1e} in {comparison.where}"
