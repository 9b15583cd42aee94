"""Labels: energies and forces predicted by teachers, and their spread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.config import WallConfig
from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.data.mapped import chain, row_blocks
from ekd.distillation.label_file import (
    NO_DATA,
    PER_ATOM,
    UNITS,
    Header,
    LabelFile,
    TeacherRecord,
    write_labels,
)
from ekd.distillation.parts import Arrays
from ekd.errors import DataError
from ekd.files import atomic_write


@dataclass(frozen=True, eq=False)
class Labels:
    """Mean and spread of the teachers' predictions for certain data.

    The rows are those of the data, followed by those of the extra configurations.

    Attributes:
        energies: mean over the teachers whose energies are used, float64 [n_configs] eV; None if
            there are no such teachers.
        energies_std: population standard deviation over the same teachers, [n_configs] eV, or None.
        member_energies: energies of each teacher, [n_configs, n_teachers] eV.
        forces: mean over all teachers, float64 [n_atoms, 3] eV/Å.
        forces_std: population standard deviation of a force component,
            ``sqrt(mean over teachers of |F - mean F|^2 / 3)``, [n_atoms] eV/Å.
        teachers: one record per teacher.
        data_fingerprint: :attr:`ekd.data.Dataset.fingerprint` of the data; empty without data.
        extra: extra configurations, with NaN energies, or None.
        chunk_size: number of configurations that were labeled together.
        wall: disagreement penalty included in ``energies`` and ``forces`` of the extra
            configurations, or None.
    """

    energies: NDArray[np.float64] | None
    energies_std: NDArray[np.float64] | None
    member_energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    forces_std: NDArray[np.float64]
    teachers: tuple[TeacherRecord, ...]
    data_fingerprint: str
    extra: Dataset | None = None
    chunk_size: int = 500
    wall: WallConfig | None = None

    @property
    def n_members(self) -> int:
        """Number of teachers."""
        return len(self.teachers)

    @property
    def teacher_sha256(self) -> tuple[str, ...]:
        """Identity of each teacher."""
        return tuple(teacher.sha256 for teacher in self.teachers)

    def check(self, data: Dataset) -> None:
        """Check that these labels were made for these data.

        Raises:
            DataError: they were not.
        """
        if self.data_fingerprint != data.fingerprint:
            raise DataError(
                f"the labels were made for other data (fingerprint {self.data_fingerprint[:12]}) "
                f"than '{data.provenance.path}' (fingerprint {data.fingerprint[:12]}); label "
                "these data with the teachers",
                code="EKD-LABELS-003",
            )

    def check_teachers(self, teachers: Sequence[TeacherRecord]) -> None:
        """Check that the labels were made by these teachers.

        Raises:
            DataError: they were not.
        """
        if [t.identity for t in teachers] != [t.identity for t in self.teachers]:
            raise DataError(
                f"the labels were made by {_names(self.teachers)}, and not by {_names(teachers)}; "
                "use the same teachers, or label the data with these",
                code="EKD-LABELS-004",
            )

    def with_extra(self, more: Labels) -> Labels:
        """Append labels of more extra configurations to these labels.

        Args:
            more: labels of the same teachers, only for extra configurations, see
                :func:`ekd.distillation.label`.

        Raises:
            DataError: they were made by other teachers.
        """
        self.check_teachers(more.teachers)
        assert more.data_fingerprint == NO_DATA
        assert more.extra is not None
        arrays: dict[str, Any] = {}
        for name in UNITS:
            parts = [getattr(each, name) for each in (self, more)]
            arrays[name] = None if any(part is None for part in parts) else chain(parts)
        extra = more.extra if self.extra is None else concatenate(self.extra, more.extra)
        return replace(self, **arrays, extra=extra, wall=self.wall or more.wall)

    def save(self, path: str | os.PathLike[str], data: Dataset) -> None:
        """Write a label file; see docs/labels.md for its layout.

        Args:
            path: HDF5 file to write.
            data: data for which the labels were made.

        Raises:
            DataError: the labels were made for other data.
        """
        self.check(data)
        sizes = data.n_atoms_per_config
        if self.extra is not None:
            sizes = np.concatenate([sizes, self.extra.n_atoms_per_config])
        ends = np.concatenate([[0], np.cumsum(sizes)])

        def chunk(first: int, last: int) -> Arrays:
            return {
                name: array[ends[first] : ends[last]] if name in PER_ATOM else array[first:last]
                for name in UNITS
                if (array := getattr(self, name)) is not None
            }

        starts = range(0, len(sizes), self.chunk_size)
        chunks = (chunk(start, min(start + self.chunk_size, len(sizes))) for start in starts)
        header = Header(
            self.data_fingerprint, self.teachers, self.chunk_size, self.extra, self.wall
        )
        with atomic_write(path) as temporary:
            write_labels(temporary, header, sizes, chunks)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        data: Dataset | None = None,
        stream: bool | None = None,
    ) -> Labels:
        """Read a label file, and check all its chunks.

        Args:
            path: file written by :func:`ekd.distillation.label` or :meth:`save`.
            data: if given, the labels must have been made for these data.
            stream: map per-atom labels from disk instead of reading them into memory. None: if the
                data are mapped.

        Raises:
            DataError: the file is missing, is not a label file, is damaged, contains values that
                are not finite, or was made for other data.
        """
        if stream is None:
            stream = data is not None and data.is_mapped
        with LabelFile(path) as file:
            header = file.header
            damaged = [number for number in range(file.n_chunks) if not file.is_intact(number)]
            if damaged:
                raise DataError(
                    f"{len(damaged)} of {file.n_chunks} chunks of '{path}' are damaged (the first "
                    f"is {damaged[0]}); label the data again with resume=True, which keeps the "
                    "others",
                    code="EKD-LABELS-005",
                )
            labels = cls(
                **file.everything(mapped=stream),
                teachers=header.teachers,
                data_fingerprint=header.data_fingerprint,
                extra=header.extra,
                chunk_size=header.chunk_size,
                wall=header.wall,
            )
        for name in UNITS:
            if getattr(labels, name) is not None:
                require_finite(f"in '{path}'", name, getattr(labels, name))
        if data is not None:
            labels.check(data)
        return labels


def _names(teachers: Sequence[TeacherRecord]) -> str:
    return ", ".join(f"{teacher.name} ({teacher.sha256[:8]})" for teacher in teachers)


def require_finite(where: str, name: str, array: NDArray[np.float64]) -> None:
    """Check that all values are finite.

    Raises:
        DataError: some are not.
    """
    n_bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in row_blocks(array))
    if n_bad:
        raise DataError(
            f"{n_bad} {name} {where} are not finite; check the teachers (of networks: their "
            "histories) and label the data again",
            code="EKD-LABELS-007",
        )
