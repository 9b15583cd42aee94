"""The file ``manifest.json``: results of an output folder, their inputs and environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

from ekd.config import Config
from ekd.errors import DataError, EKDError
from ekd.export.archive import without_folders
from ekd.files import atomic_write, sha256
from ekd.pipeline.content import content_sha256, is_compared
from ekd.pipeline.environment import describe_environment
from ekd.pipeline.stages import BY_NAME

MANIFEST = "manifest.json"

FORMAT = 1


@dataclass
class Manifest:
    """The file ``manifest.json`` of an output folder.

    Attributes:
        path: path of the file.
        configuration: all settings of the last run, with file names instead of paths.
        seeds: all random seeds, by name.
        inputs: ``name``, ``sha256`` and ``bytes`` of every input file, by its key in the
            configuration.
        environments: environments of all runs without duplicates, see
            :func:`ekd.pipeline.environment.describe_environment`.
        stages: stages by name: ``sessions`` (command line and index of the environment of every
            run that worked on it), ``inputs`` (keys of the files that it depends on), and
            ``results`` once it is complete: ``sha256`` and ``bytes`` by path, and
            ``content_sha256`` if the file contains times.
        writable: whether this process writes the file; one of the processes that share a stage.
    """

    path: Path
    configuration: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    environments: list[dict[str, Any]] = field(default_factory=list)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    writable: bool = True

    @classmethod
    def load(cls, path: Path, writable: bool = True) -> Manifest:
        """Read the manifest; a missing file is an empty manifest.

        Raises:
            EKDError: the file is damaged, or was written by a newer version of ekd.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            found = raw.pop("format")
            manifest = cls(path, **raw, writable=writable) if found == FORMAT else None
        except (FileNotFoundError, NotADirectoryError):  # whoever writes there says what is wrong
            return cls(path, writable=writable)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise EKDError(
                f"'{path}' is damaged ({error}); remove it to continue in this folder. Without it "
                "'ekd reproduce' cannot check the results that are there",
                code="EKD-RUN-014",
            ) from None
        if manifest is None:
            raise EKDError(
                f"'{path}' has manifest format {found}, expected {FORMAT}; use the version of ekd "
                "that wrote it",
                code="EKD-RUN-015",
            )
        return manifest

    def begin(self, stage: str, resumed: bool, config: Config) -> None:
        """Record that this process starts to work on a stage.

        Args:
            stage: name.
            resumed: whether it continues the work of an earlier session.
            config: current configuration.
        """
        if not self.writable:
            return
        earlier = self.stages.get(stage, {}).get("sessions", []) if resumed else []
        session = {"environment": self._environment(), "command": command_line()}
        self.stages[stage] = {
            "sessions": earlier if session in earlier else [*earlier, session],
            "inputs": [],
            "results": None,
        }
        self._describe(config)
        self._save()

    def finish(self, stage: str, config: Config) -> None:
        """Record the inputs and the results of a complete stage."""
        if not self.writable:
            return
        folder = self.path.parent
        inputs = inputs_of_stage(config, stage)
        self.inputs |= {key: _describe_input(path) for key, path in inputs.items()}
        entry = self.stages[stage]
        entry["inputs"] = sorted(inputs)
        entry["results"] = {
            path.relative_to(folder).as_posix(): _describe_result(path)
            for path in results_of_stage(folder, stage)
        }
        self._save()

    def forget(self, stage: str) -> None:
        """Remove a stage whose results are being deleted."""
        if self.writable and self.stages.pop(stage, None) is not None:
            self._save()

    @property
    def complete(self) -> list[str]:
        """Stages with results, in no particular order."""
        return [name for name, entry in self.stages.items() if entry["results"] is not None]

    def environments_of(self, stage: str) -> list[dict[str, Any]]:
        """Environments of the sessions of a stage, without duplicates."""
        numbers = [session["environment"] for session in self.stages[stage]["sessions"]]
        return [self.environments[number] for number in dict.fromkeys(numbers)]

    def _environment(self) -> int:
        found = describe_environment()
        if found not in self.environments:
            self.environments.append(found)
        return self.environments.index(found)

    def _describe(self, config: Config) -> None:
        self.configuration = described_config(config)
        self.seeds = seeds_of(config)
        known = set(input_files(config))
        self.inputs = {key: entry for key, entry in self.inputs.items() if key in known}

    def _save(self) -> None:
        used = sorted(
            {
                session["environment"]
                for entry in self.stages.values()
                for session in entry["sessions"]
            }
        )
        for entry in self.stages.values():
            for session in entry["sessions"]:
                session["environment"] = used.index(session["environment"])
        self.environments = [self.environments[number] for number in used]
        content = {
            "format": FORMAT,
            "configuration": self.configuration,
            "seeds": self.seeds,
            "inputs": dict(sorted(self.inputs.items())),
            "environments": self.environments,
            "stages": self.stages,
        }
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def described_config(config: Config) -> dict[str, Any]:
    """Return all settings as JSON values, with file names instead of paths, without folders."""
    described: dict[str, Any] = _without(
        {"output", "folder"}, without_folders(config.model_dump(mode="json"))
    )
    return described


def _without(keys: set[str], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without(keys, entry) for key, entry in tree.items() if key not in keys}
    return [_without(keys, entry) for entry in tree] if isinstance(tree, list) else tree


def command_line() -> list[str]:
    """Return the command line of this process, with file names instead of absolute paths."""
    program, *arguments = sys.argv or ["python"]
    name = "ekd" if PurePath(program).name == "__main__.py" else PurePath(program).name
    return [name, *map(_without_folder, arguments)]


def _without_folder(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{PurePath(value).name if PurePath(value).is_absolute() else value}"


def seeds_of(config: Config) -> dict[str, Any]:
    """Seeds of splits, bases, teachers and students."""
    n_members, own = config.teachers.n_members, config.teachers.overrides
    seeds: dict[str, Any] = {"seed": config.seed, "split": config.data.split_seed}
    if config.pretraining is not None:
        seeds["bases"] = [config.seed + k for k in range(config.pretraining.n_bases)]
    seeds["teachers"] = [
        config.seed + k if k >= len(own) or own[k].seed is None else own[k].seed
        for k in range(n_members)
    ]
    seeds["students"] = [config.seed + n_members + k for k in range(config.student.n_members)]
    return seeds


def input_files(config: Config) -> dict[str, Path]:
    """Return the files named in a configuration, by dotted key.

    They include the Python module of a calculator if it is in the ``folder`` of its section.
    """
    return dict(_input_files(config, ""))


def _input_files(section: BaseModel, prefix: str) -> Iterator[tuple[str, Path]]:
    for name in type(section).model_fields:
        key, value = f"{prefix}{name}", getattr(section, name)
        if key == "output" or name == "folder":
            continue
        if name == "calculator" and isinstance(value, str):
            module = value.partition(":")[0].split(".")
            file = Path(getattr(section, "folder", "")).joinpath(*module).with_suffix(".py")
            if file.is_file():
                yield key, file
        yield from _paths_in(value, key)


def _paths_in(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, BaseModel):
        yield from _input_files(value, f"{key}.")
    elif isinstance(value, Path):
        yield key, value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _paths_in(entry, f"{key}.{name}")
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _paths_in(entry, f"{key}.{number}")


def inputs_of_stage(config: Config, stage: str) -> dict[str, Path]:
    """Return the input files that a stage depends on, by dotted key."""
    sections = BY_NAME[stage].all_sections()
    return {
        key: path for key, path in input_files(config).items() if key.partition(".")[0] in sections
    }


def results_of_stage(folder: Path, stage: str) -> list[Path]:
    """Return the files that a stage has written to an output folder, sorted."""
    found: list[Path] = []
    for name in (*BY_NAME[stage].leaves, *BY_NAME[stage].shows):
        place = folder / name
        found += [place] if place.is_file() else place.rglob("*")
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _describe_input(path: Path) -> dict[str, Any]:
    status = _status(path)
    return {"name": path.name, "sha256": _sha256_of(path, *status), "bytes": status[0]}


def _status(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be read: {error.strerror}; check the path", code="EKD-DATA-001"
        ) from None
    return status.st_size, status.st_mtime_ns


@cache
def _sha256_of(path: Path, size: int, changed: int) -> str:
    """Hash a file once, not for every stage."""
    return sha256(path)


def _describe_result(path: Path) -> dict[str, Any]:
    entry = {"sha256": sha256(path), "bytes": path.stat().st_size}
    # HDF5 files contain no dates, so their bytes are their content.
    if is_compared(path) and path.suffix != ".h5":
        entry["content_sha256"] = content_sha256(path)
    return entry


def missing_or_changed(
    entries: Mapping[str, Mapping[str, Any]], places: Mapping[str, Path | None]
) -> tuple[list[str], list[str]]:
    """Return keys of missing files, and of files whose content differs from the record.

    Args:
        entries: recorded ``sha256`` and ``bytes``, by key.
        places: current paths of the files, by key.
    """
    missing, changed = [], []
    for key, entry in entries.items():
        path = places.get(key)
        if path is None or not path.is_file():
            missing.append(key)
        elif path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
            changed.append(key)
    return missing, changed
