"""Extended XYZ and every other format that ASE reads, frame by frame.

The energy is a key of the frame or a result of its calculator, the forces an array of the frame or
such a result: ASE moves well-known keys such as ``energy`` and ``forces`` into a calculator. In a
database of ASE both may be among the key-value pairs or the data of a row, as SchNetPack has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from numpy.typing import NDArray

from ekd.data.frames import is_database, read_frames, stated_units
from ekd.data.isolated_atoms import is_isolated_atom
from ekd.data.readers.source import (
    Block,
    Request,
    Source,
    check_numbers,
    mismatch,
    units,
    unknown_key,
)
from ekd.data.readers.stated_units import factors
from ekd.errors import DataError

_FRAMES_PER_BLOCK = 1000
_NAMES = {"extxyz": "extended XYZ"}


class ASESource(Source):
    """A file of frames.

    Raises:
        DataError: ASE does not know the format; the units that a database states are unknown, or
            contradict those that are given.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.energy_key = request.energy or "energy"
        self.level_of_theory = self.energy_key
        self.n_configs = None
        self._forces_key = request.forces
        self.has_forces = request.forces is not None
        self._format = request.format or _format_of(path)
        if self._format not in ioformats:
            raise DataError(
                f"ASE has no format '{self._format}'; 'ase info --formats' lists what it has",
                code="EKD-DATA-025",
            )
        self._units = self._factors(request)

    def _factors(self, request: Request) -> tuple[float, float, float]:
        """Factors for energies, lengths and forces: of the metadata of a database, or as usual."""
        if not is_database(self._format):
            return units(request, energy="eV")
        with self._parsing():
            stated = stated_units(self.path, self._format)
        arrays = {
            "energy": (self.energy_key, stated.properties.get(self.energy_key)),
            "positions": ("positions", stated.length),
        }
        if self._forces_key is not None:
            arrays["forces"] = (self._forces_key, stated.properties.get(self._forces_key))
        sizes = factors(request, arrays, "eV", self.path)
        # Frames of a database that states its unit of length are in Å already.
        length = 1.0 if stated.length is not None else sizes["positions"]
        return sizes["energy"], length, sizes.get("forces", 1.0)

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        frames = self._frames(start)
        present: dict[str, set[str]] = {"energy": set(), "forces": set()}
        n_read = 0
        while chunk := list(islice(frames, _FRAMES_PER_BLOCK)):
            n_read += len(chunk)
            yield self._block(chunk, present)
        if start == 0 and n_read:
            for key, names in zip(
                (self.energy_key, self._forces_key), present.values(), strict=True
            ):
                if key is not None and key not in names:
                    raise unknown_key(self.path, key, names)

    def _frames(self, start: int) -> Iterator[Atoms]:
        single = ioformats[self._format].single  # such formats take no index
        with self._parsing():
            index = ":" if single else f"{start}:"
            frames = read_frames(self.path, index, self._format)
            yield from islice(frames, start if single else 0, None)

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except Exception as error:  # every parser of ASE has its own way to fail
            name = _NAMES.get(self._format, f"'{self._format}'")
            raise DataError(
                f"'{self.path}' cannot be read as {name}: {type(error).__name__}: {error}",
                code="EKD-DATA-027",
            ) from None

    def _block(self, frames: list[Atoms], present: dict[str, set[str]]) -> Block:
        energies, kept, forces = [], [], []
        for frame in frames:
            results = dict(frame.calc.results) if frame.calc is not None else {}
            scalars, arrays = results | frame.info, results | frame.arrays
            if is_database(self._format):
                self._check_one_place(results, frame.info)
                vectors = {key: value for key, value in frame.info.items() if _is_table(value)}
                arrays |= vectors
                scalars = {key: scalars[key] for key in scalars if key not in vectors}
            present["energy"].update(scalars)
            present["forces"].update(arrays)
            energy = self._number(scalars.get(self.energy_key, np.nan))
            if np.isfinite(energy):
                kept.append(frame)
                energies.append(energy)
                if self._forces_key is not None:
                    forces.append(self._vectors(arrays.get(self._forces_key), len(frame)))
        in_ev, in_angstrom, force = self._units
        numbers = np.concatenate([np.zeros(0), *(frame.numbers for frame in kept)]).astype(np.int64)
        check_numbers(self.path, numbers)
        pbc = np.array([frame.pbc for frame in kept], dtype=bool).reshape(-1, 3)
        cells = np.array([frame.cell.array for frame in kept]).reshape(-1, 3, 3)
        none = np.zeros((0, 3))
        return Block(
            n_read=len(frames),
            sizes=np.array([len(frame) for frame in kept], dtype=np.int64),
            atomic_numbers=numbers,
            positions=np.concatenate([none, *(frame.positions for frame in kept)]) * in_angstrom,
            energies=np.array(energies) * in_ev,
            groups=np.array([frame.symbols.get_chemical_formula() for frame in kept], np.str_),
            forces=None if self._forces_key is None else np.concatenate([none, *forces]) * force,
            cells=cells * in_angstrom if pbc.any() else None,
            pbc=pbc if pbc.any() else None,
            isolated=np.array([is_isolated_atom(frame.info) for frame in kept], dtype=bool),
        )

    def _check_one_place(self, results: dict[str, Any], info: dict[str, Any]) -> None:
        """Refuse a key that is both a result of a row and in its data, with other values."""
        for key in filter(None, (self.energy_key, self._forces_key)):
            if key in results and key in info and not _agree(results[key], info[key]):
                raise DataError(
                    f"a row of '{self.path}' has '{key}' as a result of its calculator and, with "
                    "another value, in its key-value pairs or data; remove one of them",
                    code="EKD-DATA-028",
                )

    def _number(self, value: Any) -> float:
        if isinstance(value, (list, np.ndarray)) and np.size(value) == 1:
            value = np.reshape(value, -1)[0]  # as SchNetPack stores it
        if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
            raise DataError(
                f"'{self.energy_key}' in '{self.path}' is {value!r} in one frame; expected a "
                "number",
                code="EKD-DATA-026",
            )
        return float(value)

    def _vectors(self, value: Any, n_atoms: int) -> NDArray[np.float64]:
        if value is None:
            return np.full((n_atoms, 3), np.nan)
        vectors = np.asarray(value)
        if vectors.shape != (n_atoms, 3) or vectors.dtype.kind not in "fi":
            key, expected = str(self._forces_key), f"({n_atoms}, 3)"
            raise mismatch(self.path, "one frame", key, vectors.shape, expected)
        return vectors.astype(np.float64)


def _is_table(value: Any) -> bool:
    try:
        return np.ndim(value) == 2 and np.size(value) > 1
    except ValueError:  # lists of several lengths
        return False


def _agree(one: Any, other: Any) -> bool:
    try:
        return bool(np.allclose(one, np.reshape(other, np.shape(one)), rtol=1e-9, atol=0))
    except (TypeError, ValueError):
        return False


def _format_of(path: Path) -> str:
    if path.suffix.lower() in (".xyz", ".extxyz"):
        return "extxyz"
    try:
        found = str(filetype(str(path)))
    except UnknownFileTypeError:
        found = ""
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be read: {error}; check the file", code="EKD-DATA-027"
        ) from None
    if found not in ioformats:  # ASE falls back on the suffix
        raise DataError(
            f"'{path}' has the suffix '{path.suffix}', and neither ekd nor ASE knows what it is; "
            "expected HDF5 (.h5, .hdf5, .hdf), .npz, .xyz, .extxyz, or a format of ASE: name it "
            "with format=, 'ase info --formats' lists them",
            code="EKD-DATA-024",
        )
    return found
