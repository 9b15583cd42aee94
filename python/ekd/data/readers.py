"""Read datasets: HDF5 in the layout of the ANI-1x/ANI-1ccx release, and extended XYZ.

HDF5: any group with ``atomic_numbers`` [n] and ``coordinates`` [m, n, 3] (Å) holds m
configurations; each property is an array [m, ...] beside them, NaN where it was not computed
(Smith et al., Sci. Data 7, 134 (2020)).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ekd.data.dataset import Dataset, Provenance
from ekd.errors import DataError
from ekd.files import sha256
from ekd.units import energy_unit as unit_in_ev

_HDF5 = (".h5", ".hdf5", ".hdf")
_EXTXYZ = (".xyz", ".extxyz")


def load_dataset(
    path: str | os.PathLike[str],
    energy: str,
    forces: str | None = None,
    energy_unit: str | None = None,
) -> Dataset:
    """Read a dataset and convert it to eV and Å.

    Configurations without a finite energy under the key are dropped and counted in
    ``provenance.n_dropped``.

    Args:
        path: ``.h5`` or ``.hdf5`` in the ANI-1x/ANI-1ccx layout, ``.xyz`` or ``.extxyz``.
        energy: key of the energy, e.g. ``ccsd(t)_cbs.energy``.
        forces: key of the forces; None: energies alone.
        energy_unit: unit of the energy, and per Å of the forces; None: Hartree in HDF5, eV in
            extended XYZ.

    Raises:
        DataError: the file is missing or not readable, a key or unit is unknown, no configuration
            has the energy, one that has it lacks forces that were asked for, or shapes disagree.
    """
    path = Path(path)
    if path.suffix.lower() not in _HDF5 + _EXTXYZ:
        raise DataError(
            f"'{path}' has the suffix '{path.suffix}'; expected one of {', '.join(_HDF5 + _EXTXYZ)}"
        )
    if not path.is_file():
        raise DataError(f"data file '{path}' not found; check the path")
    if path.suffix.lower() in _HDF5:
        unit = unit_in_ev(energy_unit or "Hartree")
        dataset = _read_hdf5(path, energy, forces, unit)
    else:
        unit = unit_in_ev(energy_unit or "eV")
        dataset = _read_extxyz(path, energy, forces, unit)
    _check(dataset, forces)
    return dataset


# ---------------------------------------------------------------------------------------- HDF5


def _read_hdf5(path: Path, energy: str, forces: str | None, unit: float) -> Dataset:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read as HDF5: {error}") from None
    with file:
        level = file.attrs.get("level_of_theory", energy)
        groups = list(_groups(file))
        if not groups:
            raise DataError(
                f"'{path}' has no group with 'coordinates'; expected one group per formula with "
                "'atomic_numbers', 'coordinates' and properties (ANI-1x/ANI-1ccx layout)"
            )
        for key in filter(None, (energy, forces)):
            if not any(key in group for group in groups):
                raise _unknown_key(path, key, {name for group in groups for name in group})
        parts = [_read_group(path, group, energy, forces) for group in groups]

    kept = [len(part["energies"]) for part in parts]
    n_dropped = sum(part["n_configs"] for part in parts) - sum(kept)
    if sum(kept) == 0:
        raise _no_energies(path, energy, n_dropped)
    sizes = np.repeat([len(part["atomic_numbers"]) for part in parts], kept)
    return Dataset(
        atomic_numbers=np.concatenate(
            [np.tile(p["atomic_numbers"], len(p["energies"])) for p in parts]
        ),
        positions=np.concatenate([part["coordinates"].reshape(-1, 3) for part in parts]),
        offsets=_offsets(sizes),
        energies=np.concatenate([part["energies"] for part in parts]) * unit,
        groups=np.repeat(np.asarray([part["name"] for part in parts], dtype=np.str_), kept),
        provenance=Provenance(str(path), sha256(path), str(level), n_dropped),
        forces=np.concatenate([part["forces"].reshape(-1, 3) for part in parts]) * unit
        if forces
        else None,
    )


def _groups(parent: h5py.Group) -> Iterator[h5py.Group]:
    """Groups that hold configurations, at any depth, in the order of their names."""
    if "coordinates" in parent:
        yield parent
    for child in parent.values():
        if isinstance(child, h5py.Group):
            yield from _groups(child)


def _read_group(path: Path, group: h5py.Group, energy: str, forces: str | None) -> dict[str, Any]:
    """Read the configurations of a group that have an energy, in the units of the file."""
    name = group.name.strip("/")
    if "atomic_numbers" not in group:
        raise DataError(
            f"group '{name}' of '{path}' has no 'atomic_numbers', only {', '.join(group)}"
        )
    numbers = np.asarray(group["atomic_numbers"], dtype=np.int64)
    coordinates = group["coordinates"]
    shape = coordinates.shape
    if numbers.ndim != 1 or len(shape) != 3 or shape[1:] != (len(numbers), 3):
        raise _mismatch(path, name, "coordinates", shape, f"(m, {len(numbers)}, 3)")
    n_configs = shape[0]

    energies = _property(path, group, energy, (n_configs,))
    kept = np.isfinite(energies)
    part = {
        "name": name,
        "n_configs": n_configs,
        "atomic_numbers": numbers,
        "energies": energies[kept],
        # np.asarray reads all rows: far faster than selecting rows inside HDF5
        "coordinates": np.asarray(coordinates, dtype=np.float64)[kept],
    }
    if forces is not None:
        part["forces"] = _property(path, group, forces, shape)[kept]
    return part


def _property(
    path: Path, group: h5py.Group, key: str, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Read a property; a group that lacks it has not computed it, which is what NaN means."""
    if key not in group:
        return np.full(shape, np.nan)
    dataset = group[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
        found = getattr(dataset, "shape", "no array")
        raise _mismatch(path, group.name.strip("/"), key, found, str(shape))
    return np.asarray(dataset, dtype=np.float64)


# -------------------------------------------------------------------------------- extended XYZ


def _read_extxyz(path: Path, energy: str, forces: str | None, unit: float) -> Dataset:
    frames = _frames(path)
    if not frames:
        raise DataError(f"'{path}' has no configurations")
    energy_tables = [_results(frame) | frame.info for frame in frames]
    force_tables = [_results(frame) | frame.arrays for frame in frames]
    _require_key(path, energy, energy_tables)
    if forces is not None:
        _require_key(path, forces, force_tables)

    energies = np.array(
        [_number(path, energy, table.get(energy, np.nan)) for table in energy_tables]
    )
    kept = np.flatnonzero(np.isfinite(energies))
    n_dropped = len(frames) - len(kept)
    if len(kept) == 0:
        raise _no_energies(path, energy, n_dropped)
    frames = [frames[index] for index in kept]
    pbc = np.array([frame.pbc for frame in frames])
    return Dataset(
        atomic_numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
        positions=np.concatenate([frame.positions for frame in frames]),
        offsets=_offsets(np.array([len(frame) for frame in frames])),
        energies=energies[kept] * unit,
        groups=np.array([frame.symbols.get_chemical_formula() for frame in frames]),
        provenance=Provenance(str(path), sha256(path), energy, n_dropped),
        forces=np.concatenate(
            [
                _vectors(path, forces, force_tables[index], len(frames[row]))
                for row, index in enumerate(kept)
            ]
        )
        * unit
        if forces
        else None,
        cells=np.array([frame.cell.array for frame in frames]) if pbc.any() else None,
        pbc=pbc if pbc.any() else None,
    )


def _frames(path: Path) -> list[Atoms]:
    try:
        return list(ase.io.iread(path, index=":", format="extxyz"))
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise DataError(f"'{path}' cannot be read as extended XYZ: {error}") from None


def _results(frame: Atoms) -> dict[str, Any]:
    """ASE moves well-known keys such as ``energy`` and ``forces`` into a calculator."""
    return dict(frame.calc.results) if frame.calc is not None else {}


def _require_key(path: Path, key: str, tables: list[dict[str, Any]]) -> None:
    if not any(key in table for table in tables):
        raise _unknown_key(path, key, {name for table in tables for name in table})


def _number(path: Path, key: str, value: Any) -> float:
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        raise DataError(f"'{key}' in '{path}' is {value!r} in one frame; expected a number")
    return float(value)


def _vectors(path: Path, key: str, table: dict[str, Any], n_atoms: int) -> NDArray[np.float64]:
    vectors = np.asarray(table.get(key, np.full((n_atoms, 3), np.nan)))
    if vectors.shape != (n_atoms, 3) or vectors.dtype.kind not in "fi":
        raise _mismatch(path, "one frame", key, vectors.shape, f"({n_atoms}, 3)")
    return vectors.astype(np.float64)


# -------------------------------------------------------------------------------------- checks


def _check(dataset: Dataset, forces: str | None) -> None:
    """Refuse values that would only fail much later, as a NaN loss."""
    path = dataset.provenance.path
    if (dataset.n_atoms_per_config == 0).any():
        raise DataError(f"'{path}' has a configuration without atoms; remove it")
    for number in (dataset.elements[0], dataset.elements[-1]):
        if not 1 <= number <= 118:
            raise DataError(f"'{path}' has an atom of atomic number {number}; expected 1 to 118")
    if not np.isfinite(dataset.positions).all():
        raise DataError(f"'{path}' has positions that are not finite; remove those configurations")
    if dataset.forces is not None:
        bad = dataset.config_index[~np.isfinite(dataset.forces).all(axis=1)]
        n_bad = len(np.unique(bad))
        if n_bad:
            raise DataError(
                f"{n_bad} of {len(dataset)} configurations with an energy in '{path}' have no "
                f"finite '{forces}'; leave the forces out or remove those configurations"
            )
    if dataset.cells is not None and dataset.pbc is not None:
        periodic = np.where(dataset.pbc[:, :, None], dataset.cells, 0.0)
        flat = np.linalg.matrix_rank(periodic) < dataset.pbc.sum(axis=1)
        if flat.any():
            raise DataError(
                f"'{path}' has {int(flat.sum())} periodic configurations whose lattice vectors "
                "are missing or lie in one plane; give 'Lattice' or set pbc=\"F F F\""
            )


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _unknown_key(path: Path, key: str, present: set[str]) -> DataError:
    structure = {"atomic_numbers", "coordinates", "numbers", "positions"}
    known = ", ".join(sorted(present - structure)) or "none"
    return DataError(f"'{path}' has no key '{key}'; its keys are: {known}")


def _no_energies(path: Path, key: str, n_configs: int) -> DataError:
    return DataError(f"all {n_configs} values of '{key}' in '{path}' are missing or NaN")


def _mismatch(path: Path, where: str, key: str, found: object, expected: str) -> DataError:
    return DataError(f"'{key}' of {where} in '{path}' has shape {found}; expected {expected}")
