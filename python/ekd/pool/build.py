"""Construction of a pool, from molecules to the file: parallel and resumable."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ekd import workers
from ekd.config import TBLITE, PoolConfig
from ekd.data import Dataset, prepared
from ekd.data.combine import concatenate
from ekd.distillation import ASETeacher
from ekd.distillation.parts import Arrays, Parts, digest, require_same_plan
from ekd.errors import ConfigError, DataError, StructureError, TeacherError
from ekd.files import atomic_write, remove_leftovers
from ekd.locks import locked_file
from ekd.pool import molecules as sources
from ekd.pool import pool_plot
from ekd.pool.calculation import calculate, evaluate, explain
from ekd.pool.pool_summary import Summary, summarise
from ekd.pool.recipe import DATA, KINDS, MD, MOLECULE, Recipe, Run, copies, plan_geometries
from ekd.pool.selection import largest_forces, near_duplicates
from ekd.pool.snapshots import snapshots
from ekd.training.torch_threads import one_thread

_TRIED = 10
"""Number of geometries on which the calculator is tried before any work is done."""

_SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True)
class Pool:
    """A complete pool.

    Attributes:
        path: the file; :func:`ekd.load_dataset` reads it too.
        summary: content of the pool, and what was left out.
    """

    path: Path
    summary: Summary

    @cached_property
    def data(self) -> Dataset:
        """The configurations with energies (eV) and forces (eV/Å); ``groups`` are the kinds."""
        return prepared.load(self.path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Pool:
        """Open a pool that was built before.

        Raises:
            DataError: the file is missing, damaged, or not a pool.
        """
        path = Path(path)
        header = prepared.read_header(path)
        if "pool" not in header.preparation:
            raise DataError(
                f"'{path}' contains data but is not a pool; give a file of ekd.build_pool",
                code="EKD-DATA-064",
            )
        content = header.preparation["summary"]
        return cls(path, Summary.from_json(content, str(path), header.fingerprint))


def build_pool(
    data: Dataset | None,
    config: PoolConfig | None = None,
    *,
    path: str | os.PathLike[str],
    cutoff: float = 5.5,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> Pool:
    """Make geometries, and calculate energies and forces of all of them.

    Finished chunks are kept in ``PATH.parts`` until the file is complete. If the process is
    interrupted, the same call with ``resume=True`` continues. The resulting file is bitwise the
    same, for any number of workers. A picture (``.png`` instead of ``.h5``) and the summary
    (``.json``) are written to the same folder.

    Args:
        data: training configurations, preferably without the held-out set; their elements are
            those of the pool. None: there are none.
        config: settings of the geometries and the calculator; None: the defaults.
        path: ``.h5`` file to write. It is replaced if it exists, unless ``resume`` is set and it is
            complete.
        cutoff: cutoff of the model, Å, the largest distance between molecules of a cluster.
        seed: seed of all random numbers.
        resume: keep existing results, which must have been made with the same data and settings.
        progress: show progress on standard error.

    Raises:
        ConfigError: a molecule is unknown or has unpaired electrons, there is nothing to start
            from, the cutoff is not positive, or the path does not end in ``.h5``.
        DataError: existing results were made with other data or settings, a file of structures
            cannot be read, or no geometry is left.
        EKDError: another process is writing to the path, or it cannot be written.
        StructureError: a molecule contains an element that is not in the data.
        TeacherError: the calculator is not installed or cannot be created, fails on everything, or
            its process was lost.
    """
    path, config = Path(path), config or PoolConfig()
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"the pool '{path}' must end in .h5, by which it is recognized", code="EKD-CONFIG-027"
        )
    if not cutoff > 0:
        raise ConfigError(
            f"cutoff is {cutoff} Å; expected a positive number", code="EKD-CONFIG-011"
        )
    molecules = _molecules(data, config)
    recipe = plan_geometries(data, molecules, config, cutoff, seed)
    calculator = _calculator(config)
    _check_periodicity(recipe, config)
    calculator.check(recipe.geometries.elements)
    plan: dict[str, Any] = {
        **config.model_dump(mode="json", exclude={"calculator", "structures", "n_workers"}),
        "reuse": config.calculator.reuse,
        "calculator": calculator.sha256,
        "_calculator": calculator.name,
        "geometries": digest(_arrays(recipe.geometries)),
        "cutoff": cutoff,
        "seed": seed,
    }
    with locked_file(path):
        return _build(path, plan, recipe, config, calculator, resume, progress)


def _build(
    path: Path,
    plan: dict[str, Any],
    recipe: Recipe,
    config: PoolConfig,
    calculator: ASETeacher,
    resume: bool,
    progress: bool,
) -> Pool:
    """Do the remaining calculations, and write the files."""
    folder = parts_folder(path)
    if resume and path.exists() and not Parts.begun(folder):
        there = prepared.read_header(path).preparation.get("pool", {})
        require_same_plan(f"the pool '{path}'", there, plan)
        return Pool.load(path)
    parts = Parts(folder, plan, resume)
    _try(calculator, recipe)
    job = _Job(recipe, config, calculator, parts)
    parts.complete(
        job,
        [job.n_geometries(number) for number in range(job.n_chunks)],
        config.n_workers,
        name="pool",
        progress=progress,
    )
    summary = _assemble(job, plan, path)
    parts.remove()
    return Pool(path, summary)


def parts_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder of the finished chunks of an unfinished pool."""
    return Path(path).with_name(f"{Path(path).name}.parts")


def _molecules(data: Dataset | None, config: PoolConfig) -> list[Atoms]:
    elements = None if data is None else data.elements
    structures = sources.from_files(config.structures, elements)
    if config.molecules is not None:
        return sources.named(config.molecules, elements) + structures
    if elements is None:
        elements = tuple({int(z) for atoms in structures for z in atoms.numbers})
        if not elements:
            raise ConfigError(
                "the elements of the pool are not specified; give data, molecules or structures",
                code="EKD-CONFIG-028",
            )
    return sources.chosen(elements, config.max_heavy_atoms) + structures


def _calculator(config: PoolConfig) -> ASETeacher:
    section = config.calculator
    if section.calculator == TBLITE and importlib.util.find_spec("tblite") is None:
        raise TeacherError(
            "the calculator of the pool is GFN2-xTB by tblite, but the package tblite is not "
            "installed; pip install 'ekd[xtb]', or give another calculator of ASE in "
            "[pool.calculator]",
            code="EKD-TEACHER-012",
        )
    return ASETeacher(
        section.calculator,
        section.arguments,
        section.files,
        elements=section.elements,
        folder=section.folder,
    )


def _check_periodicity(recipe: Recipe, config: PoolConfig) -> None:
    pbc = recipe.geometries.pbc
    if pbc is None or config.calculator.calculator != TBLITE:
        return
    mixed = np.flatnonzero(pbc.any(axis=1) & ~pbc.all(axis=1))
    if len(mixed):
        raise StructureError(
            f"{len(mixed):,} structures are periodic in some directions only, such as "
            f"{recipe.geometries.formulas[mixed[0]]}, but tblite would treat all directions as "
            "periodic; leave them out, or use another calculator",
            code="EKD-STRUCTURE-016",
        )


def _try(calculator: ASETeacher, recipe: Recipe) -> None:
    """Check that the calculator works for at least one geometry, before hours of failures."""
    geometries = recipe.geometries
    molecules = np.flatnonzero(geometries.groups == MOLECULE)
    places = molecules if len(molecules) else np.arange(len(geometries))
    errors = []
    for place in places[:_TRIED].tolist():
        atoms = geometries.atoms(place)
        try:
            with one_thread():
                evaluate(atoms, calculator.make())
        except Exception as error:  # external code may raise anything
            errors.append(f"{atoms.get_chemical_formula()}: {explain(error)}")
        else:
            return
    raise _fails_on_everything(calculator, len(errors), errors[0])


def _fails_on_everything(calculator: ASETeacher, number: int, first: str) -> TeacherError:
    return TeacherError(
        f"the calculator '{calculator.name}' fails on all of {number:,} geometries, first on "
        f"{first}; check its arguments and the elements that it supports",
        code="EKD-TEACHER-011",
    )


def _arrays(data: Dataset) -> Arrays:
    arrays: dict[str, NDArray[Any] | None] = {
        "atomic_numbers": data.atomic_numbers,
        "positions": data.positions,
        "offsets": data.offsets,
        "cells": data.cells,
        "pbc": data.pbc,
    }
    return {name: np.asarray(array) for name, array in arrays.items() if array is not None}


@dataclass(frozen=True)
class _Job:
    """Calculations for the worker processes: chunks of geometries first, then MD runs."""

    recipe: Recipe
    config: PoolConfig
    calculator: ASETeacher
    parts: Parts

    @property
    def n_static(self) -> int:
        return -(-len(self.recipe.geometries) // self.config.chunk_size)

    @property
    def n_chunks(self) -> int:
        return self.n_static + len(self.recipe.runs)

    def n_geometries(self, number: int) -> int:
        """Return the number of configurations of a chunk."""
        if number >= self.n_static:
            return self.config.n_snapshots
        first = number * self.config.chunk_size
        return min(self.config.chunk_size, len(self.recipe.geometries) - first)

    def template(self, number: int) -> Dataset:
        """Return the configurations of a chunk; for an MD run, copies of its initial structure."""
        if run := self.run_of(number):
            return copies(MD, self.recipe.molecules[run.molecule], self.config.n_snapshots)
        first = number * self.config.chunk_size
        return self.recipe.geometries.subset(np.arange(first, first + self.n_geometries(number)))

    def run_of(self, number: int) -> Run | None:
        """Return the MD run of a chunk; None if the chunk is not a run."""
        return self.recipe.runs[number - self.n_static] if number >= self.n_static else None

    def run(self, number: int, report: workers.Report) -> None:
        data, reason = self.template(number), ""
        reached: NDArray[np.bool_] = np.ones(len(data), dtype=bool)
        with one_thread():
            if run := self.run_of(number):
                positions, reason = snapshots(
                    self.recipe.molecules[run.molecule],
                    self.calculator.make(),
                    run.temperature,
                    self.config,
                    np.random.default_rng(run.seed),
                )
                data = replace(data, positions=positions.reshape(-1, 3))
                reached = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
            energies = np.full(len(data), np.nan)
            forces = np.full((data.n_atoms, 3), np.nan)
            messages = np.full(len(data), reason, dtype=object)
            if reached.any():
                found = calculate(
                    data.subset(reached), self.calculator.make, self.config.calculator.reuse
                )
                energies[reached] = found.energies
                forces[reached[data.config_index]] = found.forces
                messages[reached] = found.messages
        self.parts.save(
            number,
            {
                "positions": np.asarray(data.positions),
                "energies": energies,
                "forces": forces,
                "messages": messages.astype(np.str_),
            },
        )


def _assemble(job: _Job, plan: dict[str, Any], path: Path) -> Summary:
    """Join the chunks, leave out failures, large forces and duplicates, and write the files."""
    recipe, config = job.recipe, job.config
    chunks, messages = [], []
    for number in range(job.n_chunks):
        arrays = job.parts.load(number)
        messages += arrays["messages"].tolist()
        chunks.append(
            replace(
                job.template(number),
                positions=arrays["positions"],
                energies=arrays["energies"],
                forces=arrays["forces"],
            )
        )
    made = concatenate(*chunks)
    parents = recipe.parents + [
        (r.molecule,) for r in recipe.runs for _ in range(config.n_snapshots)
    ]
    contacts = np.concatenate([recipe.contacts, np.full(len(made) - len(recipe.contacts), np.nan)])

    failed = ~np.isfinite(made.energies)
    if failed.all():
        first = f"{made.formulas[0]}: {messages[0]}"
        raise _fails_on_everything(job.calculator, len(made), first)
    too_large = ~failed & (largest_forces(made) > config.max_force)
    good = np.flatnonzero(~failed & ~too_large)
    duplicates = np.zeros(len(made), dtype=bool)
    if len(good):
        duplicates[good] = near_duplicates(made.subset(good), config.duplicate_distance)
    dropped = {"failed": failed, "too_large": too_large, "duplicates": duplicates}
    kept = np.flatnonzero(~np.any(list(dropped.values()), axis=0))
    if len(kept) == 0:
        raise DataError(
            f"none of {len(made):,} geometries is left: the calculator fails on "
            f"{failed.sum():,}, and forces of {too_large.sum():,} exceed {config.max_force:g} eV/Å;"
            " raise max_force",
            code="EKD-DATA-063",
        )
    pool = made.subset(kept)
    level = f"{job.calculator.name} ({job.calculator.version()})"
    # Only the kind is known for geometries that were left out from the start.
    absent = np.zeros(len(recipe.repeated), dtype=bool)
    dropped = {
        name: np.concatenate([mask, ~absent if name == "duplicates" else absent])
        for name, mask in dropped.items()
    }
    summary = summarise(
        str(path),
        pool,
        level,
        len(recipe.molecules),
        np.concatenate([made.groups, recipe.repeated]),
        dropped,
        [message for message in messages if message],
    )
    strain = _strain(made, failed, parents, len(recipe.molecules))[kept]
    remove_leftovers(path)
    with atomic_write(path.with_suffix(".png")) as temporary:
        pool_plot.draw(pool_plot.Content(pool, contacts[kept], strain), summary, temporary)
    with atomic_write(path.with_suffix(".json")) as temporary:
        content = {"fingerprint": summary.fingerprint, **summary.to_json()}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with atomic_write(path) as temporary:
        _write(pool, summary, plan, temporary)
    return summary


def _strain(
    made: Dataset, failed: NDArray[np.bool_], parents: list[tuple[int, ...]], n_molecules: int
) -> NDArray[np.float64]:
    """Energy relative to the undistorted molecules, [n_made] eV/atom; NaN if unknown.

    For configurations of the data, it is relative to the lowest energy of their formula.
    """
    energies = np.where(failed, np.nan, made.energies)
    molecules = np.full(n_molecules, np.nan)
    for place in np.flatnonzero(made.groups == MOLECULE):
        molecules[parents[place]] = energies[place]
    references = np.array([molecules[list(p)].sum() if p else np.nan for p in parents])
    of_data = made.groups == DATA
    lowest: dict[str, float] = {}
    for formula, energy in zip(made.formulas[of_data], energies[of_data], strict=True):
        lowest[formula] = np.fmin(lowest.get(formula, np.nan), energy)
    references[of_data] = [lowest[formula] for formula in made.formulas[of_data]]
    return np.asarray((energies - references) / made.n_atoms_per_config)


def _write(pool: Dataset, summary: Summary, plan: dict[str, Any], path: Path) -> None:
    names = [kind for kind in KINDS if (pool.groups == kind).any()]
    arrays: dict[str, NDArray[Any]] = {
        **_arrays(pool),
        "energies": pool.energies,
        "forces": np.asarray(pool.forces),
        "group_index": np.array([names.index(kind) for kind in pool.groups]),
    }
    prepared.write(
        path,
        {name: [array] for name, array in arrays.items()},
        {name: array.shape for name, array in arrays.items()},
        names,
        summary.level_of_theory,
        summary.n_dropped,
        {"sources": [], "pool": plan, "summary": summary.to_json()},
    )
