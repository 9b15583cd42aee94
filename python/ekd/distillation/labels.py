"""What an ensemble of teachers says about the structures it was trained on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ekd.data import Dataset
from ekd.errors import DataError
from ekd.files import atomic_write
from ekd.training import Ensemble, EnsemblePredictions

FORMAT = 1

_ARRAYS = ("energies", "energies_std", "forces", "forces_std")
_UNITS = {"energies": "eV", "energies_std": "eV", "forces": "eV/Å", "forces_std": "eV/Å"}


@dataclass(frozen=True, eq=False)
class Labels:
    """Mean and spread of the teachers, bound to the data they were made for.

    Attributes:
        energies: mean, float64 [n_configs] eV.
        energies_std: population standard deviation over teachers, [n_configs] eV.
        forces: mean, float64 [n_atoms, 3] eV/Å.
        forces_std: ``sqrt(mean over teachers of |F - mean F|^2 / 3)``, [n_atoms] eV/Å: the
            population standard deviation of a force component.
        data_fingerprint: :attr:`ekd.data.Dataset.fingerprint` of the data.
        teacher_sha256: :attr:`ekd.training.TrainedModel.sha256` of every teacher.
    """

    energies: NDArray[np.float64]
    energies_std: NDArray[np.float64]
    forces: NDArray[np.float64]
    forces_std: NDArray[np.float64]
    data_fingerprint: str
    teacher_sha256: tuple[str, ...]

    @property
    def n_members(self) -> int:
        """Number of teachers."""
        return len(self.teacher_sha256)

    def check(self, data: Dataset) -> None:
        """Make sure that these labels were made for these data.

        Raises:
            DataError: they were not.
        """
        if self.data_fingerprint != data.fingerprint:
            raise DataError(
                f"the labels were made for other data (fingerprint {self.data_fingerprint[:12]}) "
                f"than '{data.provenance.path}' (fingerprint {data.fingerprint[:12]}); label "
                "these data with the teachers"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an HDF5 file: one dataset per array with its unit, the rest as attributes."""
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            for name in _ARRAYS:
                file[name] = getattr(self, name)
                file[name].attrs["unit"] = _UNITS[name]
            file.attrs["ekd_labels_format"] = FORMAT
            file.attrs["data_fingerprint"] = self.data_fingerprint
            file.attrs["teacher_sha256"] = list(self.teacher_sha256)

    @classmethod
    def load(cls, path: str | os.PathLike[str], data: Dataset | None = None) -> Labels:
        """Read a label file.

        Args:
            path: written by :meth:`save`.
            data: if given, the labels must have been made for them.

        Raises:
            DataError: the file is missing, is no label file, holds numbers that are not finite,
                or was made for other data.
        """
        if not Path(path).is_file():
            raise DataError(f"label file '{path}' not found; check the path, or label the data")
        try:
            with h5py.File(path, "r") as file:
                found = file.attrs.get("ekd_labels_format")
                if found != FORMAT:
                    raise DataError(
                        f"'{path}' has label format {found}, expected {FORMAT}; label the data "
                        "again"
                    )
                labels = cls(
                    **{name: file[name][()] for name in _ARRAYS},
                    data_fingerprint=str(file.attrs["data_fingerprint"]),
                    teacher_sha256=tuple(map(str, file.attrs["teacher_sha256"])),
                )
        except (OSError, KeyError, RuntimeError) as error:
            raise DataError(
                f"'{path}' is not a label file or is damaged ({error}); label the data again"
            ) from None
        _check_finite(f"in '{path}'", labels, _ARRAYS)
        if data is not None:
            labels.check(data)
        return labels


def label(
    teachers: Ensemble,
    data: Dataset,
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Labels:
    """Evaluate the teachers on the data, in float64.

    Args:
        teachers: the ensemble.
        data: structures to label.
        path: HDF5 file to write; None keeps the labels in memory.
        progress: show progress on standard error, if it is a terminal.

    Raises:
        DataError: a teacher's prediction is not finite.
        StructureError: the data hold an element that the teachers do not know.
    """
    console = Console(stderr=True)
    members = track(
        teachers.members,
        description="labelling",
        console=console,
        disable=not (progress and console.is_terminal),
    )
    predictions = []
    for k, member in enumerate(members):
        predicted_by_member = member.predict(data)
        _check_finite(f"of teacher {k}", predicted_by_member, ("energies", "forces"))
        predictions.append(predicted_by_member)
    predicted = EnsemblePredictions.of(predictions)
    labels = Labels(
        predicted.energies,
        predicted.energies_std,
        predicted.forces,
        predicted.forces_std,
        data_fingerprint=data.fingerprint,
        teacher_sha256=tuple(member.sha256 for member in teachers.members),
    )
    if path is not None:
        labels.save(path)
    return labels


def _check_finite(where: str, arrays: object, names: tuple[str, ...]) -> None:
    for name in names:
        n_bad = int(np.count_nonzero(~np.isfinite(getattr(arrays, name))))
        if n_bad:
            raise DataError(
                f"{n_bad} {name} {where} are not finite; check the histories of the teachers and "
                "label the data again"
            )
