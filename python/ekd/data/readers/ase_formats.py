"""Extended XYZ and every other format that ASE reads, frame by frame.

The energy is a key of the frame or a result of its calculator; the forces are an array of the frame
or such a result. ASE moves well-known keys such as ``energy`` and ``forces`` into a calculator. In
an ASE database, both may be stored in the key-value pairs or the data of a row, as in SchNetPack.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from numpy.typing import NDArray

from ekd.data.frames import is_database, read_frames, stated_units
from ekd.data.isolated_atoms import is_isolated_atom
from ekd.data.readers.annotations import choose, is_wanted
from ekd.data.readers.observed import Observed, Precision
from ekd.data.readers.source import (
    Block,
    Request,
    Source,
    check_names,
    check_numbers,
    mismatch,
    other_energies,
    units,
    unknown_key,
)
from ekd.data.readers.stated_units import factors, listed_units, unit_name, unread_unit
from ekd.data.readers.verdict import judge
from ekd.errors import DataError

_FRAMES_PER_BLOCK = 1000
_NAMES = {"extxyz": "extended XYZ"}
_OUTPUTS = (
    *("abinit", "acemolecule", "aims", "castep", "crystal", "dacapo", "espresso", "gamess"),
    *("gaussian", "gpaw", "gpw", "nwchem", "octopus", "onetep", "orca", "qbox", "siesta"),
    *("turbomole", "vasp"),
)
"""Output formats of programs; ASE converts their energies and lengths to eV and Å."""

_DIFFERENT = 1e-3  # eV
_UNUSED = ("stress", "virial", "virials", "stresses")


class ASESource(Source):
    """A file of frames.

    Raises:
        DataError: ASE does not know the format; the units stated in a database are unknown, or
            contradict the given units.
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
        check_names(path, self.energy_key, request)
        self._request = request
        self._check_converted(request)
        self._units = self._factors(request)

    def _check_converted(self, request: Request) -> None:
        if self._format.split("-")[0] not in _OUTPUTS:
            return
        sizes = units(request, energy="eV")
        for what, unit, given, size in (
            ("energies", "eV", request.energy_unit, sizes[0]),
            ("lengths", "Å", request.length_unit, sizes[1]),
        ):
            if size != 1.0:
                name = f"{what[:-3]}y" if what == "energies" else "length"
                raise DataError(
                    f"ASE reads '{self.path}' as '{self._format}' and converts {what} to {unit}, "
                    f"so {given} would be wrong; leave {name}_unit out",
                    code="EKD-DATA-049",
                )

    def verdict(self, seen: Observed) -> list[str]:
        """See :meth:`Source.verdict`."""
        return judge(self._request, seen, self.path, self.energy_key)

    def _factors(self, request: Request) -> tuple[float, float, float]:
        """Factors for energies, lengths and forces: from database metadata, or the defaults."""
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
        # If a database states its length unit, its frames are already in Å.
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
        if start == 0 and not n_read:
            name = _NAMES.get(self._format, f"'{self._format}'")
            raise DataError(
                f"'{self.path}' has no configurations that can be read as {name}; if it is of "
                "another format, name it with format",
                code="EKD-DATA-003",
            )
        if start == 0:
            for key, names in zip(
                (self.energy_key, self._forces_key), present.values(), strict=True
            ):
                if key is not None and key not in names:
                    raise unknown_key(self.path, key, names)

    def _frames(self, start: int) -> Iterator[Atoms]:
        single = ioformats[self._format].single  # single-frame formats accept no index
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
        except Exception as error:  # every parser of ASE fails differently
            name = _NAMES.get(self._format, f"'{self._format}'")
            raise DataError(
                f"'{self.path}' cannot be read as {name}: {type(error).__name__}: {error}",
                code="EKD-DATA-027",
            ) from None

    def _block(self, frames: list[Atoms], present: dict[str, set[str]]) -> Block:
        energies, kept, forces, sizes, types = [], [], [], [], []
        seen = Observed()
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
            value = scalars.get(self.energy_key, np.nan)
            energy = self._number(value, len(frame))
            factors_of_frame = self._factors_of(frame, seen)
            self._observe(seen, scalars, arrays, energy, factors_of_frame[0])
            if np.isfinite(energy):
                kept.append(frame)
                energies.append(energy)
                sizes.append(factors_of_frame)
                types.append(np.asarray(value).dtype)
                if self._forces_key is not None:
                    forces.append(self._vectors(arrays.get(self._forces_key), len(frame)))
        isolated = np.array([is_isolated_atom(frame.info) for frame in kept], dtype=bool)
        keys = dict.fromkeys(key for frame in kept for key in frame.info)
        chosen, selection = choose(
            self._request,
            {
                key: [frame.info.get(key) for frame in kept]
                for key in keys
                if is_wanted(key, self._request)
            },
            np.array([len(frame) for frame in kept], dtype=np.int64),
            _numbers(kept),
            isolated,
        )
        seen.add(selection)
        rows = np.flatnonzero(chosen)
        factor = np.array([sizes[row] for row in rows]).reshape(-1, 3)
        frames_of_block = [kept[row] for row in rows]
        numbers = _numbers(frames_of_block)
        check_numbers(self.path, numbers)
        values = np.array([energies[row] for row in rows])
        precision = Precision.of(values, float(factor[:, 0].max(initial=0.0)))
        stored = [8 * types[row].itemsize for row in rows if types[row].kind == "f"]
        seen.add(Observed(precision=replace(precision, bits=min([64, *stored]))))
        pbc = np.array([frame.pbc for frame in frames_of_block], dtype=bool).reshape(-1, 3)
        cells = np.array([frame.cell.array for frame in frames_of_block]).reshape(-1, 3, 3)
        n_atoms = np.array([len(frame) for frame in frames_of_block], dtype=np.int64)
        none = np.zeros((0, 3))
        per_atom = np.repeat(factor, n_atoms, axis=0)
        return Block(
            n_read=len(frames),
            sizes=n_atoms,
            atomic_numbers=numbers,
            positions=np.concatenate([none, *(frame.positions for frame in frames_of_block)])
            * per_atom[:, [1]],
            energies=values * factor[:, 0],
            groups=np.array(
                [frame.symbols.get_chemical_formula() for frame in frames_of_block], np.str_
            ),
            forces=None
            if self._forces_key is None
            else np.concatenate([none, *(forces[row] for row in rows)]) * per_atom[:, [2]],
            cells=cells * factor[:, 1, None, None] if pbc.any() else None,
            pbc=pbc if pbc.any() else None,
            isolated=isolated[rows],
            seen=seen,
        )

    def _factors_of(self, frame: Atoms, seen: Observed) -> tuple[float, float, float]:
        """Unit factors for a frame, which may state units in its comment line."""
        stated: dict[str, str] = {}
        for key, value in frame.info.items():
            if (what := unit_name(key)) is not None and isinstance(value, str):
                stated[what] = value
            elif unread_unit(key) and isinstance(value, str):
                if (listed := listed_units(value)) is not None:
                    stated = listed | stated
                elif self._request.energy_unit is None:
                    seen.unread_units[key] = value
        if not stated or is_database(self._format):
            return self._units
        names = {"energy": self.energy_key, "positions": "positions"}
        if self._forces_key is not None:
            names["forces"] = self._forces_key
        sizes = factors(
            self._request,
            {what: (name, stated.get(what)) for what, name in names.items()},
            "eV",
            self.path,
        )
        return sizes["energy"], sizes["positions"], sizes.get("forces", 1.0)

    def _observe(
        self,
        seen: Observed,
        scalars: dict[str, Any],
        arrays: dict[str, Any],
        energy: float,
        size: float,
    ) -> None:
        """Count properties of a frame that are not read."""
        for key in _UNUSED:
            if key in scalars or key in arrays:
                seen.unused[key] += 1
        if self._request.energy is not None:
            return
        seen.energies.update(
            key for key in other_energies(scalars, self.energy_key) if _is_number(scalars[key])
        )
        free = scalars.get("free_energy")
        if self.energy_key == "energy" and free is not None and np.isfinite(energy):
            difference = abs(self._number(free, 0) - energy) * size
            if difference > _DIFFERENT:
                seen.n_free_energies += 1
                seen.free_energy = max(seen.free_energy, difference)

    def _check_one_place(self, results: dict[str, Any], info: dict[str, Any]) -> None:
        """Refuse a key that has different values in the results and in the data of a row."""
        for key in filter(None, (self.energy_key, self._forces_key)):
            if key in results and key in info and not _agree(results[key], info[key]):
                raise DataError(
                    f"a row of '{self.path}' has '{key}' as a result of its calculator and, with a "
                    "different value, in its key-value pairs or data; remove one of them",
                    code="EKD-DATA-028",
                )

    def _number(self, value: Any, n_atoms: int) -> float:
        if np.size(value) == n_atoms > 1 and not isinstance(value, str):
            raise DataError(
                f"'{self.energy_key}' in '{self.path}' has one number for every atom in one frame; "
                "expected a total energy: add them up, or name the key of the total energy",
                code="EKD-DATA-026",
            )
        if isinstance(value, (list, np.ndarray)) and np.size(value) == 1:
            value = np.reshape(value, -1)[0]  # as SchNetPack stores it
        if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
            hint = ", without its unit; give energy_unit" if _starts_with_number(value) else ""
            raise DataError(
                f"'{self.energy_key}' in '{self.path}' is {value!r} in one frame; expected a "
                f"number{hint}",
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


def _numbers(frames: list[Atoms]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0), *(frame.numbers for frame in frames)]).astype(np.int64)


def _is_number(value: Any) -> bool:
    return (
        value is not None
        and np.size(value) == 1
        and np.asarray(value).dtype.kind in "fi"
        and bool(np.isfinite(value).all())
    )


def _starts_with_number(value: Any) -> bool:
    return isinstance(value, str) and bool(re.match(r"\s*[-+]?\d", value))


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
    unpacked = path.with_suffix("") if path.suffix.lower() in (".gz", ".bz2", ".xz") else path
    if unpacked.suffix.lower() in (".xyz", ".extxyz"):
        return "extxyz"
    try:
        found = str(filetype(str(path)))
    except UnknownFileTypeError:
        found = ""
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"'{path}' cannot be read: {error}; check the file", code="EKD-DATA-027"
        ) from None
    if found not in ioformats:  # ASE falls back on the suffix
        raise DataError(
            f"'{path}' has the suffix '{path.suffix}', which neither ekd nor ASE recognizes; "
            "expected HDF5 (.h5, .hdf5, .hdf), .npz, .xyz, .extxyz, or an ASE format: name it "
            "with format=, 'ase info --formats' lists them",
            code="EKD-DATA-024",
        )
    return found
