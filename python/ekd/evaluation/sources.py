"""Opening of models and datasets from paths, names and objects."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ekd.config import config_of_run
from ekd.data import Dataset, load_dataset
from ekd.distillation.student import load_students
from ekd.distillation.teachers import ASETeacher, MemberTeacher, as_teachers, from_config
from ekd.errors import CheckpointError, ConfigError, DataError, DataWarning, ModelFileError
from ekd.evaluation.evaluation_settings import ModelConfig, SetConfig
from ekd.evaluation.models import EvaluatedModel, FileModel, TeacherModel
from ekd.inference import ExportedModel
from ekd.inference.metadata import is_exported
from ekd.preparation.forces_check import of_dataset
from ekd.training import Ensemble, TrainedModel, load_ensemble

ModelLike: TypeAlias = (
    "str | os.PathLike[str] | Ensemble | TrainedModel | MemberTeacher | ASETeacher | ExportedModel"
    " | ModelConfig | TeacherModel | FileModel"
)
DataLike: TypeAlias = "str | os.PathLike[str] | Dataset | SetConfig"

_NAMED = re.compile(r"([^=(/\\]+)=(.+)", re.DOTALL)
_CALCULATOR = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(.*\))?", re.DOTALL)


def parse_model(text: str) -> ModelConfig:
    """Parse a model on the command line: ``[NAME=]PATH`` or ``[NAME=]module:Class(key=value)``.

    >>> parse_model("lj=ase.calculators.lj:LennardJones(sigma=2.5)").arguments
    {'sigma': 2.5}

    Raises:
        ConfigError: the arguments of a calculator are not named plain values.
    """
    name, target = None, text
    if named := _NAMED.fullmatch(text):
        name, target = named[1].strip(), named[2].strip()
    if not _CALCULATOR.fullmatch(target) or Path(target).exists():
        return ModelConfig(path=Path(target), name=name)
    calculator, _, rest = target.partition("(")
    arguments = _arguments(text, f"f({rest}") if rest else {}
    return ModelConfig(calculator=calculator, arguments=arguments, name=name)


def _arguments(text: str, call: str) -> dict[str, Any]:
    try:
        node = ast.parse(call, mode="eval").body
        if not isinstance(node, ast.Call) or node.args:
            raise ValueError("arguments need names")
        return {str(entry.arg): ast.literal_eval(entry.value) for entry in node.keywords}
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"the arguments in '{text}' cannot be read ({error}); write named plain values, e.g. "
            "'ase.calculators.lj:LennardJones(sigma=2.5, epsilon=0.01)', or use a TOML file",
            code="EKD-CONFIG-021",
        ) from None


def open_models(
    models: ModelLike | Iterable[ModelLike] | Mapping[str, ModelLike],
) -> list[EvaluatedModel]:
    """Open the models to evaluate; the output folder of a run has an ensemble and a student.

    Raises:
        CheckpointError, ModelFileError: a path is not a model, or the model is damaged.
        ConfigError: there are no models, or two models have the same name.
    """
    if isinstance(models, Mapping):
        entries = [(name, model) for name, model in models.items()]
    elif isinstance(models, (str, os.PathLike)) or not isinstance(models, Iterable):
        entries = [("", models)]
    else:
        entries = [("", model) for model in models]
    n_runs = sum(_is_run(_path(model)) for _, model in entries)
    found: list[EvaluatedModel] = []
    ensembles: dict[str, list[MemberTeacher | ASETeacher]] = {}
    for name, model in entries:
        name = name or (isinstance(model, ModelConfig) and model.name) or ""
        opened = _open(model, name, several_runs=n_runs > 1)
        if isinstance(model, ModelConfig) and model.ensemble is not None:
            for one in opened:
                if not isinstance(one, TeacherModel):
                    raise ConfigError(
                        f"'{one.name}' is an exported file, which cannot be a member of the "
                        f"ensemble '{model.ensemble}'; name its checkpoint or its run",
                        code="EKD-CONFIG-022",
                    )
                ensembles.setdefault(model.ensemble, []).extend(one.teachers)
        else:
            found += opened
    found += [TeacherModel(name, tuple(members)) for name, members in ensembles.items()]
    names = [model.name for model in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"several models are called '{twice[0]}'; give them names, NAME=MODEL on the command "
            "line, name = '...' in a file",
            code="EKD-CONFIG-010",
        )
    if not found:
        raise ConfigError("there is no model to evaluate; give at least one", code="EKD-CONFIG-006")
    return found


def _path(model: object) -> Path | None:
    if isinstance(model, ModelConfig):
        return model.path or model.checkpoint
    return Path(model) if isinstance(model, (str, os.PathLike)) else None


def _is_run(path: Path | None) -> bool:
    return path is not None and any((path / name).is_dir() for name in ("teachers", "student"))


def _open(model: ModelLike, name: str, several_runs: bool) -> list[EvaluatedModel]:
    if isinstance(model, TeacherModel):
        return [replace(model, name=name or model.name)]
    if isinstance(model, FileModel):
        return [replace(model, name=name or model.name)]
    if isinstance(model, ExportedModel):
        file = Path(model.path)
        return [FileModel(name or file.stem, file)]
    if isinstance(model, (Ensemble, TrainedModel, MemberTeacher, ASETeacher)):
        teachers = tuple(as_teachers(model))
        default = "ensemble" if len(teachers) > 1 else teachers[0].name
        return [TeacherModel(name or default, teachers)]
    if isinstance(model, ModelConfig) and model.calculator is not None:
        teacher = from_config(model)
        return [TeacherModel(name or teacher.name, (teacher,))]
    if (path := _path(model)) is None:
        raise ConfigError(
            f"a {type(model).__name__} is not a model; give a path, a trained model, an ensemble, "
            "or a calculator as ekd.ASETeacher('module:Class', {...})",
            code="EKD-CONFIG-020",
        )
    use_energies = not isinstance(model, ModelConfig) or model.use_energies is not False
    if _is_run(path):
        prefix = name or (path.resolve().name if several_runs else "")
        return _open_run(path, f"{prefix}: " if prefix else "")
    return [_open_path(path, name, use_energies)]


def _open_path(path: Path, name: str, use_energies: bool) -> EvaluatedModel:
    name = name or path.stem or path.resolve().name
    if not path.exists():
        raise ModelFileError(
            f"model '{path}' not found; give the folder of a run, a checkpoint, an exported file, "
            "or an ASE calculator as 'module:Class'",
            code="EKD-MODEL-001",
        )
    if path.is_file() and is_exported(path):
        return FileModel(name, path, use_energies)
    if path.is_file():
        networks = [TrainedModel.load(path)]
    elif (path / "checkpoint.pt").exists():
        networks = [TrainedModel.load(path / "checkpoint.pt")]
    elif any(path.glob("member-*/checkpoint.pt")):
        networks = load_ensemble(path).members
    else:
        raise CheckpointError(
            f"no model in '{path}' (expected teachers/ and student/ of a run, member-0/, ..., or "
            "checkpoint.pt); check the path",
            code="EKD-CHECKPOINT-001",
        )
    members = [
        MemberTeacher(model, use_energies, f"{name} {k}") for k, model in enumerate(networks)
    ]
    return TeacherModel(name, tuple(members))


def _open_run(path: Path, prefix: str) -> list[EvaluatedModel]:
    """Open the existing models of a run: the ensemble of teachers, and the student or students."""
    found: list[EvaluatedModel] = []
    teachers: list[MemberTeacher | ASETeacher] = []
    if any((path / "teachers").glob("member-*/checkpoint.pt")):
        teachers += as_teachers(load_ensemble(path / "teachers"))
    if (config := config_of_run(path)) is not None:
        teachers += [from_config(teacher) for teacher in config.labels.teachers]
    if len(teachers) > 1:
        found.append(TeacherModel(f"{prefix}ensemble", tuple(teachers), "single teacher"))
    elif teachers:
        found.append(TeacherModel(f"{prefix}teacher", tuple(teachers)))
    if (path / "student").is_dir():
        students = tuple(
            MemberTeacher(model, name=f"student {k}")
            for k, model in enumerate(load_students(path).members)
        )
        found.append(TeacherModel(f"{prefix}student", students, "single student"))
    if not found:
        raise CheckpointError(
            f"the run '{path}' has neither teachers nor a student; finish it",
            code="EKD-CHECKPOINT-001",
        )
    return found


def test_data_of(path: Path) -> list[SetConfig]:
    """Return the test set and far set of a run; empty if there are none or it is not a run."""
    config = config_of_run(path) if _is_run(path) else None
    if config is None:
        return []
    sections = [section for section in (config.test, config.far) if section is not None]
    return [SetConfig(**section.model_dump()) for section in sections]


def open_data(
    data: DataLike | Sequence[DataLike] | Mapping[str, DataLike],
) -> dict[str, Dataset]:
    """Read datasets; return them by their names in tables.

    Raises:
        ConfigError: two datasets have the same name.
        DataError: a file cannot be read.
    """
    if isinstance(data, Mapping):
        return {name: _read(entry) for name, entry in data.items()}
    entries = [data] if isinstance(data, (str, os.PathLike, Dataset, SetConfig)) else list(data)
    found: dict[str, Dataset] = {}
    for entry in entries:
        dataset = _read(entry)
        name = (isinstance(entry, SetConfig) and entry.name) or Path(dataset.provenance.path).stem
        if name in found:
            raise ConfigError(
                f"several datasets are called '{name}'; give them names", code="EKD-CONFIG-010"
            )
        found[name] = dataset
    return found


def _read(entry: DataLike) -> Dataset:
    if isinstance(entry, Dataset):
        return entry
    if not isinstance(entry, SetConfig):
        entry = SetConfig(path=Path(entry))
    dataset = load_dataset(
        entry.path,
        energy=entry.energy,
        forces=entry.forces,
        energy_unit=entry.energy_unit,
        gradients=entry.gradients,
        keys=entry.keys,
        where=entry.where,
        states=entry.states,
    )
    if (text := of_dataset(dataset)) is not None:
        warnings.warn(f"'{Path(entry.path).name}': {text}", DataWarning, stacklevel=2)
    if entry.level_of_theory is not None:
        provenance = replace(dataset.provenance, level_of_theory=entry.level_of_theory)
        dataset = replace(dataset, provenance=provenance)
    if entry.n_configs is not None and entry.n_configs < len(dataset):
        chosen = np.random.default_rng(0).permutation(len(dataset))[: entry.n_configs]
        dataset = dataset.subset(np.sort(chosen))
    if not np.isfinite(dataset.energies).all():
        raise DataError(
            f"'{entry.path}' has energies that are not finite; remove them", code="EKD-DATA-055"
        )
    return dataset
