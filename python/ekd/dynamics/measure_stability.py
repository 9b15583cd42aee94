"""``ekd.stability``: survival of molecules and liquids in MD, and energy conservation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms

from ekd.dynamics.replicas import DriftOutcome, Outcome
from ekd.dynamics.runs import complete, plan, read_structures
from ekd.dynamics.stability_files import write_stability
from ekd.dynamics.stability_results import ALL, DriftRow, Stability, SurvivalRow
from ekd.dynamics.stability_settings import StabilityConfig, StructureConfig
from ekd.dynamics.survival import survival
from ekd.errors import ConfigError, TeacherError
from ekd.evaluation.evaluation_settings import ModelConfig
from ekd.evaluation.sources import ModelLike, open_models
from ekd.locks import locked_folder

StructureLike: TypeAlias = "str | os.PathLike[str] | Atoms | StructureConfig"


def stability(
    models: ModelLike | Iterable[ModelLike] | Mapping[str, ModelLike],
    structures: StructureLike | Iterable[StructureLike] | Mapping[str, Atoms],
    output: str | os.PathLike[str] | None = None,
    config: StabilityConfig | None = None,
    progress: bool = True,
    **settings: Any,
) -> Stability:
    """Measure how long molecular dynamics runs survive.

    >>> ekd.stability("run", ["CH3OH", "H2O"], temperatures=[300.0, 900.0])  # doctest: +SKIP

    Molecules run in ASE (Langevin dynamics), all seeds of a structure together. Periodic boxes run
    in LAMMPS if the model can be exported, otherwise in ASE. A run fails if a bond of the starting
    structure breaks, atoms come too close, temperature or potential energy exceed their limits, or
    a value is not finite. With ``drift``, there are also runs at constant energy.

    Args:
        models: as for :func:`ekd.evaluate`. For an ensemble, its individual members also run.
        structures: files that ASE reads, names of molecules in ASE, or ``Atoms``.
        output: folder for all files; finished runs in it are reused. None: write no files.
        config: settings, whose models and structures are ignored; None: the defaults.
        progress: show a progress bar on standard error.
        settings: fields of :class:`ekd.dynamics.StabilityConfig` that override ``config``.

    Raises:
        ConfigError: an invalid setting, an unknown molecule, or a duplicate name.
        DataError: a structure cannot be read.
        EKDError: another process is writing to the output folder, or it cannot be written to.
        LammpsError: LAMMPS is needed and cannot be started.
        StructureError: a model lacks an element, or cannot evaluate a structure.
        TeacherError: a calculator cannot be made, or a process was lost.
    """
    opened = open_models(models)
    atoms = _structures(structures)
    base = config.model_dump(exclude={"models", "structures"}) if config is not None else {}
    of_these = {
        "models": [ModelConfig(path=Path(model.name)) for model in opened],
        "structures": [StructureConfig(molecule=name) for name in atoms],
    }
    config = StabilityConfig(**{**base, **of_these, **settings})
    with ExitStack() as stack:
        if output is not None:
            stack.enter_context(locked_folder(output))
        folder = (
            Path(output).resolve()
            if output is not None
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ekd-")))
        )
        runs = plan(opened, atoms, config, folder)
        complete(runs, config.n_workers, progress)
        survivals: dict[tuple[str, float, str], list[Outcome]] = {}
        drifts: dict[tuple[str, float, str], list[DriftOutcome]] = {}
        engines: dict[tuple[str, str], str] = {}
        seconds: dict[str, float] = {}
        names = list(atoms)
        for task in runs.tasks:
            content = runs.load(task)
            if content is None:
                raise TeacherError(
                    f"'{runs.path(task)}' has disappeared; run the same command again",
                    code="EKD-RUN-009",
                )
            row = runs.runners[task.runner].row
            key = (names[task.structure], task.value, row)
            engines[names[task.structure], row] = runs.engine(task)
            seconds[row] = seconds.get(row, 0.0) + content["seconds"]
            if task.kind == "survival":
                found = [Outcome(**outcome) for outcome in content["outcomes"]]
                survivals.setdefault(key, []).extend(found)
            else:
                drifted = [DriftOutcome(**outcome) for outcome in content["outcomes"]]
                drifts.setdefault(key, []).extend(drifted)
    result = Stability(
        config=config,
        models=list(dict.fromkeys(runner.row for runner in runs.runners)),
        structures=atoms,
        survival=_survival_rows(survivals, engines, len(atoms)),
        drift=[
            _drift_row(key, outcomes, engines[key[0], key[2]]) for key, outcomes in drifts.items()
        ],
        baseline=next((r.row for r in runs.runners if r.is_member), None),
        seconds=seconds,
    )
    if output is not None:
        write_stability(result, output)
    return result


def _structures(
    structures: StructureLike | Iterable[StructureLike] | Mapping[str, Atoms],
) -> dict[str, Atoms]:
    if isinstance(structures, Mapping):
        return dict(structures)
    entries: list[StructureLike] = (
        [structures]
        if isinstance(structures, (str, os.PathLike, Atoms, StructureConfig))
        else list(structures)
    )
    found: dict[str, Atoms] = {}
    for entry in entries:
        if isinstance(entry, Atoms):
            new = {entry.get_chemical_formula(): entry}
        elif isinstance(entry, StructureConfig):
            new = read_structures([entry])
        elif isinstance(entry, str) and not Path(entry).exists() and not Path(entry).suffix:
            new = read_structures([StructureConfig(molecule=entry)])
        else:
            new = read_structures([StructureConfig(path=Path(entry))])
        for name, atoms in new.items():
            if name in found:
                raise ConfigError(
                    f"several structures are called '{name}'; give them names",
                    code="EKD-CONFIG-010",
                )
            found[name] = atoms
    if not found:
        raise ConfigError(
            "there is no structure to start from; give at least one", code="EKD-CONFIG-009"
        )
    return found


def _survival_rows(
    outcomes: Mapping[tuple[str, float, str], list[Outcome]],
    engines: Mapping[tuple[str, str], str],
    n_structures: int,
) -> list[SurvivalRow]:
    joined: dict[tuple[str, float, str], list[Outcome]] = {}
    if n_structures > 1:
        for (_, temperature, model), found in outcomes.items():
            joined.setdefault((ALL, temperature, model), []).extend(found)
    rows = []
    for (structure, temperature, model), found in {**outcomes, **joined}.items():
        used = {engines[name, who] for name, who in engines if who == model}
        rows.append(
            SurvivalRow(
                structure,
                temperature,
                model,
                engines.get((structure, model)) or " and ".join(sorted(used)),
                found,
                survival([o.time for o in found], [o.failure is not None for o in found]),
            )
        )
    return rows


def _drift_row(
    key: tuple[str, float, str], outcomes: Sequence[DriftOutcome], engine: str
) -> DriftRow:
    structure, timestep, model = key
    good = [o for o in outcomes if o.slope is not None and o.fluctuation is not None]
    return DriftRow(
        structure,
        timestep,
        model,
        engine,
        drift=float(np.mean([abs(o.slope or 0.0) for o in good])) if good else None,
        fluctuation=float(np.mean([o.fluctuation or 0.0 for o in good])) if good else None,
        n_runs=len(outcomes),
        n_failed=len(outcomes) - len(good),
    )
