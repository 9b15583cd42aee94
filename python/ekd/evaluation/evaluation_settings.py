"""Settings of ``ekd evaluate``, also read from TOML files. Paths are relative to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ekd.config import (
    FilePath,
    Section,
    TeacherConfig,
    VectorPlots,
    Where,
    Workers,
    located,
    read_toml,
)
from ekd.errors import ConfigError


class ModelConfig(TeacherConfig):
    """A model: a path or an ASE calculator."""

    path: FilePath | None = Field(
        None,
        description="output folder of a run (teachers, ensemble and student), folder of an "
        "ensemble, checkpoint, or exported file",
    )
    ensemble: str | None = Field(
        None, description="name of an ensemble; models with the same name are averaged"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> ModelConfig:
        given = [key for key in ("path", "calculator", "checkpoint") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                "a model is a path = 'run' or a calculator = 'module:Class', found "
                f"{' and '.join(given) or 'neither'}"
            )
        if self.calculator is None and (self.arguments or self.files or self.elements):
            raise ValueError("arguments, files and elements belong to a calculator")
        return self


class SetConfig(Section):
    """Reference data: true energies and, if available, forces."""

    path: FilePath = Field(description="data file, in any format that ekd reads")
    energy: str | None = Field(None, description="key of the energy")
    forces: str | None = Field(None, description="key of the forces; default: only energies")
    energy_unit: str | None = Field(None, description="as in [data] of a run")
    keys: dict[str, str] = Field({}, description="as in [data] of a run")
    where: Where = Field({}, description="as in [data] of a run")
    states: Literal["neutral", "all"] | None = Field(None, description="as in [data] of a run")
    gradients: bool = Field(False, description="the forces in the file are gradients (COMP6)")
    name: str | None = Field(None, description="name in tables; default: name of the file")
    level_of_theory: str | None = Field(
        None,
        description="level of theory of the labels; default: as stated in the file, else the key "
        "of the energy",
    )
    n_configs: int | None = Field(
        None,
        ge=2,
        description="number of configurations to use, drawn at random with a fixed seed; default: "
        "all",
    )


class CurveConfig(SetConfig):
    """A scan: structures along a coordinate, one curve for each group of the file."""

    coordinate: str = Field(
        description="'distance i j', 'angle i j k', 'dihedral i j k l' (atoms are numbered from "
        "0), 'separation n' (between the centers of mass of the first n atoms and of the others), "
        "'index', or a key of the file"
    )
    zero: Literal["minimum", "end"] = Field(
        "minimum",
        description="point where all curves are zero: the minimum of the reference, or the largest "
        "coordinate, e.g. for separated dimers",
    )


class EvaluationConfig(Section):
    """A whole evaluation."""

    output: FilePath = Field(Path("evaluation"), description="output folder")
    models: list[ModelConfig] = Field(description="each [[models]]: a model to compare")
    sets: list[SetConfig] = Field([], description="each [[sets]]: reference data")
    curves: list[CurveConfig] = Field([], description="each [[curves]]: a file of scans")
    windows: list[float] = Field(
        [100.0],
        description="energy windows above the lowest conformer with separate errors (kcal/mol)",
    )
    units: Literal["meV", "kcal/mol"] = Field("meV", description="energy unit of tables and plots")
    same_level: bool = Field(
        False,
        description="treat differently named levels of theory of models and labels as the same, "
        "and compare their total energies",
    )
    n_workers: Workers = None
    vector_plots: VectorPlots = False

    @model_validator(mode="after")
    def _something_to_do(self) -> EvaluationConfig:
        if not self.models or not (self.sets or self.curves):
            raise ValueError("at least one [[models]], and one [[sets]] or [[curves]], are needed")
        if any(not window > 0 for window in self.windows):
            raise ValueError(f"windows = {self.windows}: energies above the minimum are positive")
        return self


def is_evaluation(path: str | os.PathLike[str]) -> bool:
    """Whether a TOML file describes an evaluation rather than a run.

    Raises:
        ConfigError: the file is missing or is not TOML.
    """
    return bool({"models", "sets", "curves"} & set(read_toml(path)))


def load_evaluation_config(path: str | os.PathLike[str]) -> EvaluationConfig:
    """Read and validate a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or fails validation.
    """
    base = Path(path).parent
    try:
        config = EvaluationConfig(**read_toml(path))
    except ConfigError as error:
        raise error.within(f"'{path}'") from None

    def here(entry: SetConfig) -> dict[str, Path]:
        return {"path": located(entry.path, base)}

    return config.model_copy(
        update={
            "output": located(config.output, base),
            "models": [locate_model(model, base) for model in config.models],
            "sets": [entry.model_copy(update=here(entry)) for entry in config.sets],
            "curves": [entry.model_copy(update=here(entry)) for entry in config.curves],
        }
    )


def locate_model(model: ModelConfig, base: Path) -> ModelConfig:
    """Return the model with paths relative to ``base`` made absolute."""
    return model.model_copy(
        update={
            "path": model.path and located(model.path, base),
            "checkpoint": model.checkpoint and located(model.checkpoint, base),
            "folder": located(model.folder, base),
            "files": {key: located(path, base) for key, path in model.files.items()},
        }
    )
