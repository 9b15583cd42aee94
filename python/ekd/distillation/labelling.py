"""Label structures with teachers: in chunks, in parallel, and with finished chunks kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd import workers
from ekd.config import WallConfig
from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.distillation.label_file import NO_DATA, Header, LabelFile, TeacherRecord, write_labels
from ekd.distillation.labels import Labels, require_finite
from ekd.distillation.parts import Arrays, Parts, require_same_plan
from ekd.distillation.teachers import (
    ASETeacher,
    MemberTeacher,
    TeacherLike,
    as_teachers,
    predict_all,
)
from ekd.distillation.wall import wall_of_spread
from ekd.errors import ConfigError
from ekd.files import atomic_write
from ekd.locks import locked_file
from ekd.training.torch_threads import one_thread

CHUNK_SIZE = 500


def label(
    teachers: TeacherLike | Iterable[TeacherLike],
    data: Dataset | None,
    path: str | os.PathLike[str] | None = None,
    extra: Dataset | None = None,
    chunk_size: int = CHUNK_SIZE,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
    wall: WallConfig | None = None,
) -> Labels:
    """Evaluate teachers on the data, in float64, chunk by chunk.

    Finished chunks are kept in ``PATH.parts`` with checksums until the label file is complete.
    After an interruption of any kind, the same call with ``resume=True`` continues and gives a
    bitwise identical file. The file does not depend on the number of workers.

    Args:
        teachers: an ensemble, or any mixture of ensembles, trained models and
            :class:`ASETeacher`. Forces are averaged over all teachers, energies over those with
            ``use_energies``: by default networks, but not ASE calculators.
        data: structures to label; None: only extra configurations.
        path: HDF5 file to write; None: keep the labels in memory.
        extra: extra configurations, on which the student is also trained; see :func:`perturb`,
            :func:`sample_md` and :func:`read_structures`.
        chunk_size: configurations per chunk; a kill loses at most one chunk per process. A new ASE
            calculator is made for each chunk, so that chunks do not depend on each other.
        n_workers: number of processes; None: ``EKD_WORKERS`` if set, else one per core. With one,
            the work is done in this process.
        resume: continue an interrupted calculation, and keep intact chunks of a file at ``path``.
            Otherwise start over; an existing file is replaced at the end.
        progress: show progress on standard error.
        wall: disagreement penalty for the labels of extra configurations, from the teachers whose
            energies are used; None: no penalty.

    Raises:
        ConfigError: ``chunk_size`` or ``n_workers`` is below one, there is a wall and fewer than
            two teachers whose energies are used, or there is nothing to label.
        DataError: a prediction is not finite, or the existing chunks were made with other teachers,
            data or chunk sizes.
        EKDError: another process is writing to the path, or it cannot be written.
        StructureError: the data contain an element that a teacher does not support.
        TeacherError: a teacher cannot be loaded or fails, or a process was lost.
    """
    for name, value in (("chunk_size", chunk_size), ("n_workers", n_workers)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; at least 1 is needed", code="EKD-CONFIG-011")
    structures = [part for part in (data, extra) if part is not None]
    if not structures:
        raise ConfigError(
            "there is nothing to label; give data, extra configurations, or both",
            code="EKD-CONFIG-012",
        )
    chosen = as_teachers(teachers)
    extra = None if extra is None else _without_energies(extra)
    wall = _used_wall(wall, chosen, extra)
    elements = sorted({number for part in structures for number in part.elements})
    for teacher in chosen:
        teacher.check(elements)
    header = Header(
        NO_DATA if data is None else data.fingerprint,
        records_of(chosen),
        chunk_size,
        extra,
        wall,
    )
    with contextlib.ExitStack() as stack:
        keeping = path is not None
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ekd-"))) / "labels"
        path = Path(path)
        stack.enter_context(locked_file(path))
        folder = parts_folder(path)
        there = {}
        if resume and path.exists() and not Parts.begun(folder):
            there = _intact_chunks(path, header)
        parts = Parts(folder, header.plan, resume)
        for number, arrays in there.items():
            parts.save(number, arrays)
        job = _Job(chosen, data, extra, chunk_size, wall, parts)
        sizes = job.sizes
        chunks = range(-(-len(sizes) // chunk_size))
        parts.complete(
            job,
            [min(chunk_size, len(sizes) - number * chunk_size) for number in chunks],
            n_workers,
            name="labels",
            progress=progress,
        )
        # Assemble the file next to its parts, so that a kill leaves no files elsewhere.
        complete = folder / path.name
        write_labels(complete, header, sizes, map(parts.load, chunks))
        with atomic_write(path) as temporary:
            complete.replace(temporary)
        parts.remove()
        return Labels.load(path, data, stream=None if keeping else False)


def _used_wall(
    wall: WallConfig | None,
    teachers: Sequence[MemberTeacher | ASETeacher],
    extra: Dataset | None,
) -> WallConfig | None:
    """Return the wall if it changes any label, else None.

    Raises:
        ConfigError: there are fewer than two teachers whose energies are used.
    """
    if wall is None or not wall.strength or extra is None:
        return None
    n_counting = sum(teacher.use_energies for teacher in teachers)
    if n_counting < 2:
        raise ConfigError(
            f"the energies of {n_counting} of {len(teachers)} teachers are used, but the wall "
            "needs at least two; set use_energies for teachers at the level of theory of the data, "
            "or the strength of the wall to 0",
            code="EKD-CONFIG-013",
        )
    return wall


def records_of(teachers: Iterable[MemberTeacher | ASETeacher]) -> tuple[TeacherRecord, ...]:
    """Return the records of teachers for label files."""
    return tuple(TeacherRecord(t.name, t.sha256, t.use_energies) for t in teachers)


def parts_folder(path: str | os.PathLike[str]) -> Path:
    """Folder with the finished chunks of an unfinished label file."""
    return Path(path).with_name(f"{Path(path).name}.parts")


def _without_energies(extra: Dataset) -> Dataset:
    """Remove energies and forces: those of extra configurations come from the teachers."""
    return dataclasses.replace(extra, energies=np.full(len(extra), np.nan), forces=None)


def _intact_chunks(path: Path, header: Header) -> dict[int, Arrays]:
    """Read the intact chunks of an existing label file."""
    with LabelFile(path) as file:
        require_same_plan(f"the labels in '{path}'", file.header.plan, header.plan)
        intact = [number for number in range(file.n_chunks) if file.is_intact(number)]
        return {number: file.chunk(number) for number in intact}


@dataclass(frozen=True)
class _Job:
    """Labeling job for the worker processes."""

    teachers: list[MemberTeacher | ASETeacher]
    data: Dataset | None
    extra: Dataset | None
    chunk_size: int
    wall: WallConfig | None
    parts: Parts

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of atoms of each configuration, extra ones at the end."""
        sizes = [part.n_atoms_per_config for part in (self.data, self.extra) if part is not None]
        return np.concatenate(sizes)

    @property
    def _n_data(self) -> int:
        return 0 if self.data is None else len(self.data)

    def run(self, number: int, report: workers.Report) -> None:
        first = number * self.chunk_size
        chunk = self._chunk(first)
        n_data = min(max(self._n_data - first, 0), len(chunk))
        self.parts.save(number, _evaluate(self.teachers, chunk, first, n_data, self.wall))

    def _chunk(self, first: int) -> Dataset:
        """Return a chunk of the data and extra configurations, without joining all of them."""
        n_data = self._n_data
        chosen = np.arange(first, min(first + self.chunk_size, len(self.sizes)))
        of_data, of_extra = chosen[chosen < n_data], chosen[chosen >= n_data] - n_data
        parts = []
        if self.data is not None and len(of_data):
            parts.append(self.data.subset(of_data))
        if self.extra is not None and len(of_extra):
            parts.append(self.extra.subset(of_extra))
        return concatenate(*parts)


def _evaluate(
    teachers: Sequence[MemberTeacher | ASETeacher],
    data: Dataset,
    first: int,
    n_data: int,
    wall: WallConfig | None,
) -> Arrays:
    """Compute the labels of a chunk, whose configurations from ``n_data`` on are extra ones."""
    with one_thread():
        predictions = predict_all(teachers, data, first)
    for teacher, predicted in zip(teachers, predictions, strict=True):
        for name in ("energies", "forces"):
            require_finite(f"of {teacher.name}", name, getattr(predicted, name))
    energies = np.stack([predicted.energies for predicted in predictions])
    forces = np.stack([predicted.forces for predicted in predictions])
    arrays = {
        "member_energies": energies.T,
        "forces": forces.mean(0),
        "forces_std": np.sqrt(forces.var(0).mean(-1)),
    }
    counting = np.array([teacher.use_energies for teacher in teachers])
    if counting.any():
        known = energies[counting]
        arrays |= {"energies": known.mean(0), "energies_std": known.std(0)}
    if wall is not None and n_data < len(data):
        atom = data.offsets[n_data]
        energy, force = wall_of_spread(
            energies[counting, n_data:],
            forces[counting, atom:],
            data.n_atoms_per_config[n_data:],
            wall,
        )
        arrays["energies"][n_data:] += energy
        arrays["forces"][atom:] += force
    return arrays
