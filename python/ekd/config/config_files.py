"""Configuration files: read, checked, and written with all defaults."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from ekd.config.configuration import Config
from ekd.config.label_sections import TeacherConfig
from ekd.config.pretraining_sections import CalculatorConfig, PoolConfig, PretrainingConfig
from ekd.config.section import explain_all
from ekd.errors import ConfigError
from ekd.files import atomic_write


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and validate a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or fails validation. Every problem is
            listed, each with the key, the value found and what was expected.
    """
    return validate_config(read_toml(path), base=Path(path).parent, source=f"'{path}'")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file without validating its content.

    Raises:
        ConfigError: the file is missing, cannot be read, or is not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"configuration file '{path}' not found; check the path", code="EKD-CONFIG-001"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"configuration file '{path}' cannot be read: {error}; check its permissions",
            code="EKD-CONFIG-002",
        ) from None
    except RecursionError:
        raise ConfigError(
            f"'{path}' cannot be read: it is nested more deeply than any configuration; check it",
            code="EKD-CONFIG-003",
        ) from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(
            f"'{path}' is not valid TOML: {error}; correct it", code="EKD-CONFIG-003"
        ) from None


def located(path: Path, base: str | os.PathLike[str]) -> Path:
    """Return a path relative to ``base`` as an absolute path."""
    # Not resolve(): symbolic links in the user's path are kept.
    return Path(os.path.abspath(Path(base) / path.expanduser()))  # noqa: PTH100


def validate_config(
    raw: dict[str, Any], base: str | os.PathLike[str], source: str = "configuration"
) -> Config:
    """Validate a nested dictionary; relative paths are relative to ``base``.

    Raises:
        ConfigError: as for :func:`load_config`; the message begins with ``source``.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            f"{source}: {explain_all(error, Config)}", code="EKD-CONFIG-004"
        ) from None

    def teacher(section: TeacherConfig) -> TeacherConfig:
        checkpoint = section.checkpoint and located(section.checkpoint, base)
        return _located_calculator(section, base).model_copy(update={"checkpoint": checkpoint})

    data = config.data.model_copy(update={"path": located(config.data.path, base)})
    test = config.test and config.test.model_copy(update={"path": located(config.test.path, base)})
    labels = config.labels.model_copy(
        update={
            "teachers": [teacher(section) for section in config.labels.teachers],
            "structures": [located(path, base) for path in config.labels.structures],
        }
    )
    far = config.far and config.far.model_copy(update={"path": located(config.far.path, base)})
    return config.model_copy(
        update={
            "data": data,
            "test": test,
            "far": far,
            "labels": labels,
            "pool": config.pool and _located_pool(config.pool, base),
            "pretraining": config.pretraining and _located_base(config.pretraining, base),
            "output": located(config.output, base),
        }
    )


_Calculator = TypeVar("_Calculator", TeacherConfig, CalculatorConfig)


def _located_calculator(section: _Calculator, base: str | os.PathLike[str]) -> _Calculator:
    files = {key: located(path, base) for key, path in section.files.items()}
    return section.model_copy(update={"folder": located(section.folder, base), "files": files})


def _located_pool(pool: PoolConfig, base: str | os.PathLike[str]) -> PoolConfig:
    calculator = _located_calculator(pool.calculator, base)
    structures = [located(path, base) for path in pool.structures]
    return pool.model_copy(update={"calculator": calculator, "structures": structures})


def _located_base(section: PretrainingConfig, base: str | os.PathLike[str]) -> PretrainingConfig:
    data = section.data and section.data.model_copy(
        update={"path": located(section.data.path, base)}
    )
    checkpoint = section.checkpoint and located(section.checkpoint, base)
    return section.model_copy(update={"data": data, "checkpoint": checkpoint})


def write_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write all settings, including defaults, as TOML for :func:`load_config`.

    Settings that are None are omitted: TOML has no null value, and None is their default.
    """
    settings = config.model_dump(mode="json", exclude_none=True)
    with atomic_write(path) as temporary:
        temporary.write_text(tomli_w.dumps(settings), encoding="utf-8")


RESOLVED = "config.resolved.toml"
"""File in the output folder of a run with all its settings, including defaults."""


def config_of_run(folder: str | os.PathLike[str]) -> Config | None:
    """Read the settings of a run from its output folder; None if there are none.

    Raises:
        ConfigError: the file cannot be read.
    """
    for name in (RESOLVED, "config.toml"):  # the latter from versions before checkpoint format 2
        if (Path(folder) / name).exists():
            return load_config(Path(folder) / name)
    return None
