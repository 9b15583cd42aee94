"""Scans along a coordinate, such as torsions and dimers: curves and their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.data.frames import read_frames
from ekd.data.readers.hdf5_walk import molecule_groups, opened
from ekd.errors import ConfigError, DataError
from ekd.evaluation.evaluation_settings import CurveConfig
from ekd.evaluation.models import ModelPredictions

Array = NDArray[np.float64]

_N_ATOMS = {"distance": 2, "angle": 3, "dihedral": 4, "separation": 1, "index": 0}


@dataclass(frozen=True, eq=False)
class ModelCurve:
    """Results of one model along a scan.

    Attributes:
        energies: energies relative to the zero of the curve, [n_points] eV.
        std: spread of the energies, [n_points] eV; None if the model has none.
        mae: mean absolute difference from the reference, eV.
        rmse: root mean square difference, eV.
        max: largest difference, eV.
        range_error: energy range (highest minus lowest energy) minus that of the reference, eV: the
            error of a torsion barrier or well depth.
        minimum_shift: coordinate of the lowest energy minus that of the reference.
    """

    energies: Array
    std: Array | None
    mae: float
    rmse: float
    max: float
    range_error: float
    minimum_shift: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A scan with all models.

    Attributes:
        dataset: name of the file of scans.
        name: name of the scan in it.
        level_of_theory: level of theory of the reference.
        coordinate: description of the coordinate, with its unit.
        x: coordinates in ascending order, [n_points].
        reference: energies relative to the zero, [n_points] eV.
        models: results of the models, by name.
    """

    dataset: str
    name: str
    level_of_theory: str
    coordinate: str
    x: Array
    reference: Array
    models: Mapping[str, ModelCurve]


def coordinates(data: Dataset, config: CurveConfig) -> tuple[Array, str]:
    """Return the coordinate of each configuration, and its description.

    Raises:
        ConfigError: the coordinate is invalid, or refers to atoms that do not exist.
        DataError: the file has no such key, or not one number per configuration.
    """
    kind, *words = config.coordinate.split()
    if kind not in _N_ATOMS:
        if words:
            raise _not_understood(config.coordinate)
        return _from_file(data, config.coordinate, config.keys), config.coordinate
    if len(words) != _N_ATOMS[kind] or not all(word.isdigit() for word in words):
        raise _not_understood(config.coordinate)
    atoms = [int(word) for word in words]
    if kind == "index":
        return np.arange(len(data), dtype=float), "frame"
    smallest = int(data.n_atoms_per_config.min())
    if max(atoms) >= smallest or (kind == "separation" and not 0 < atoms[0] < smallest):
        raise ConfigError(
            f"coordinate '{config.coordinate}' does not fit '{data.provenance.path}', where a "
            f"structure has {smallest} atoms; atoms are numbered from 0",
            code="EKD-CONFIG-018",
        )
    measures: dict[str, Callable[[Atoms], float]] = {
        "distance": lambda frame: frame.get_distance(*atoms, mic=bool(frame.pbc.any())),
        "angle": lambda frame: frame.get_angle(*atoms),
        "dihedral": lambda frame: frame.get_dihedral(*atoms),
        "separation": lambda frame: float(
            np.linalg.norm(
                frame[: atoms[0]].get_center_of_mass() - frame[atoms[0] :].get_center_of_mass()
            )
        ),
    }
    values = np.array([measures[kind](data.atoms(index)) for index in range(len(data))])
    if kind == "dihedral":
        values = _unwrapped(values)
    return values, f"{kind} ({'°' if kind in ('angle', 'dihedral') else 'Å'})"


def compare_curves(
    name: str, data: Dataset, config: CurveConfig, predictions: Mapping[str, ModelPredictions]
) -> list[Curve]:
    """Make one curve along the coordinate for each group of the data.

    The energies of models and reference are zero at the same point of the scan: the minimum of the
    reference, or the largest coordinate.

    Raises:
        DataError: no group has two points.
    """
    x, label = coordinates(data, config)
    curves = []
    for group in dict.fromkeys(data.groups.tolist()):
        rows = np.flatnonzero(data.groups == group)
        rows = rows[np.argsort(x[rows], kind="stable")]
        if len(rows) < 2:
            continue
        true = data.energies[rows]
        zero = int(np.argmin(true)) if config.zero == "minimum" else len(rows) - 1
        reference = true - true[zero]
        curves.append(
            Curve(
                dataset=name,
                name=str(group),
                level_of_theory=data.provenance.level_of_theory,
                coordinate=label,
                x=x[rows],
                reference=reference,
                models={
                    model: _model_curve(found, rows, zero, x[rows], reference)
                    for model, found in predictions.items()
                },
            )
        )
    if not curves:
        raise DataError(
            f"'{data.provenance.path}' has no group with two structures; a scan needs several "
            "structures in one group (HDF5), or of one formula (extended XYZ)",
            code="EKD-DATA-056",
        )
    return curves


def _model_curve(
    found: ModelPredictions, rows: NDArray[np.int64], zero: int, x: Array, reference: Array
) -> ModelCurve:
    energies = found.energies[rows] - found.energies[rows[zero]]
    std = None if found.energies_std is None else found.energies_std[rows]
    if found.member_energies is not None:  # the spread of differences, not of totals
        members = found.member_energies[:, rows]
        std = (members - members[:, [zero]]).std(0)
    errors = energies - reference
    return ModelCurve(
        energies=energies,
        std=std,
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt(np.mean(errors**2))),
        max=float(np.abs(errors).max()),
        range_error=float(np.ptp(energies) - np.ptp(reference)),
        minimum_shift=float(x[np.argmin(energies)] - x[np.argmin(reference)]),
    )


def _unwrapped(angles: Array) -> Array:
    """Unwrap angles at the largest gap, so that a scan is continuous."""
    if len(angles) < 2:
        return angles
    circle = np.sort(angles)
    gaps = np.diff(np.append(circle, circle[0] + 360))
    start = circle[(int(np.argmax(gaps)) + 1) % len(circle)]
    shifted = (angles - start) % 360
    # A point just below the start, due to rounding, is the start.
    shifted = np.where(shifted > 360 - 1e-6, 0.0, shifted) + start
    result: Array = shifted - 360 * np.floor((np.median(shifted) + 180) / 360)
    return result


def _from_file(data: Dataset, key: str, keys: Mapping[str, str]) -> Array:
    """Read one number per configuration from the comment lines or HDF5 arrays of the file."""
    path = Path(data.provenance.path)
    if path.suffix.lower() in (".h5", ".hdf5", ".hdf"):
        values = _from_hdf5(path, key, keys)
    else:
        frames = list(read_frames(path))
        values = [frame.info.get(key) for frame in frames]
        if all(value is None for value in values):
            known = ", ".join(sorted({name for frame in frames for name in frame.info})) or "none"
            raise DataError(
                f"'{path}' has no key '{key}' to order a scan; its keys are: {known}",
                code="EKD-DATA-058",
            )
    if len(values) != len(data) or any(not np.isscalar(value) for value in values):
        raise DataError(
            f"'{key}' in '{path}' is not one number for each of {len(data)} configurations with an "
            "energy; leave out those without",
            code="EKD-DATA-057",
        )
    return np.array(values, dtype=float)


def _from_hdf5(path: Path, key: str, keys: Mapping[str, str]) -> list[float]:
    found: list[float] = []
    names: set[str] = set()
    with opened(path) as file:
        for _, group in molecule_groups(file, keys):  # in the order of the reader
            names.update(group)
            if key in group:
                found.extend(np.asarray(group[key], dtype=float).ravel().tolist())
    if not found:
        raise DataError(
            f"'{path}' has no array '{key}' to order a scan; its arrays are: "
            f"{', '.join(sorted(names)) or 'none'}",
            code="EKD-DATA-058",
        )
    return found


def _not_understood(coordinate: str) -> ConfigError:
    return ConfigError(
        f"coordinate '{coordinate}' is not understood; write 'distance i j', 'angle i j k', "
        "'dihedral i j k l', 'separation n', 'index', or one key of the file",
        code="EKD-CONFIG-017",
    )
