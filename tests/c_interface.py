"""libekd through ctypes: the interface of C programs, with numpy arrays."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import ekd

OK, ARGUMENT, FILE, NEEDS_TORCH, SELF_TEST, STRUCTURE, UNSUPPORTED, MEMORY, INTERNAL = range(9)
PREFIX = Path(ekd.__file__).parent
RESULTS = (
    "energy",
    "atomic_energies",
    "forces",
    "virial",
    "energy_std",
    "forces_std",
    "uncertainty",
    "pair_gradients",
)

doubles = ctypes.POINTER(ctypes.c_double)
integers = ctypes.POINTER(ctypes.c_int32)
long_integers = ctypes.POINTER(ctypes.c_int64)


class _Sized(ctypes.Structure):
    def __init__(self, **fields: Any):
        super().__init__(size=ctypes.sizeof(type(self)), **fields)


class Options(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("precision", ctypes.c_int),
        ("n_threads", ctypes.c_int),
        ("block", ctypes.c_int64),
        ("skin", ctypes.c_double),
        ("no_self_test", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("device", ctypes.c_char_p),
        ("sha256", ctypes.c_char_p),
    )


class Description(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("cutoff", ctypes.c_double),
        ("interaction_range", ctypes.c_double),
        ("n_interactions", ctypes.c_int64),
        ("n_members", ctypes.c_int64),
        ("n_elements", ctypes.c_int64),
        ("atomic_numbers", integers),
        ("elements", ctypes.POINTER(ctypes.c_char_p)),
        ("free_atom_energies", doubles),
        ("has_uncertainty", ctypes.c_int),
        ("is_single", ctypes.c_int),
        ("metadata_json", ctypes.c_char_p),
        ("sha256", ctypes.c_char_p),
    )


class Results(_Sized):
    _fields_ = (("size", ctypes.c_size_t), *((name, doubles) for name in RESULTS))


class Rows(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("n_atoms", ctypes.c_int64),
        ("n_owned", ctypes.c_int64),
        ("atomic_numbers", integers),
        ("offsets", long_integers),
        ("neighbors", integers),
        ("pair_vectors", doubles),
    )


def load() -> ctypes.CDLL:
    """Load the library of the installed package."""
    library = ctypes.CDLL(str(PREFIX / "lib" / "libekd.so"))
    model, pointer = ctypes.c_void_p, ctypes.POINTER
    library.ekd_open.argtypes = [ctypes.c_char_p, pointer(Options), pointer(model)]
    library.ekd_describe.argtypes = [model, pointer(Description)]
    library.ekd_evaluate.argtypes = [
        model,
        ctypes.c_int64,
        doubles,
        integers,
        doubles,
        pointer(ctypes.c_int),
        pointer(Results),
    ]
    library.ekd_evaluate_rows.argtypes = [model, pointer(Rows), pointer(Results)]
    library.ekd_close.argtypes = [model]
    library.ekd_close.restype = None
    library.ekd_last_error.restype = ctypes.c_char_p
    library.ekd_version.restype = ctypes.c_char_p
    return library


class Failed(Exception):  # noqa: N818
    """A function returned a nonzero code."""

    def __init__(self, code: int, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Program:
    """Calls of a program with one model; every error is :class:`Failed`."""

    def __init__(self, path: Path, **options: Any):
        self.library = load()
        self.model = ctypes.c_void_p()
        self.call("open", str(path).encode(), Options(**options), ctypes.byref(self.model))

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, f"ekd_{name}")(*arguments)
        if code != OK:
            raise Failed(code, self.library.ekd_last_error().decode())

    def close(self) -> None:
        self.library.ekd_close(self.model)
        self.model = ctypes.c_void_p()

    def describe(self) -> Description:
        found = Description()
        self.call("describe", self.model, found)
        return found

    def evaluate(
        self,
        atomic_numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        wanted: tuple[str, ...] = RESULTS[:4],
    ) -> dict[str, np.ndarray]:
        numbers = np.ascontiguousarray(atomic_numbers, dtype=np.int32)
        places = np.ascontiguousarray(positions, dtype=np.float64)
        vectors = None if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
        flags = None if pbc is None else np.ascontiguousarray(pbc, dtype=np.intc)
        n = len(numbers)
        found = make_room(wanted, n, n, 0)
        self.call(
            "evaluate",
            self.model,
            n,
            as_doubles(places),
            numbers.ctypes.data_as(integers),
            as_doubles(vectors),
            None if flags is None else flags.ctypes.data_as(ctypes.POINTER(ctypes.c_int)),
            results_into(found),
        )
        return found

    def evaluate_rows(
        self,
        atomic_numbers: ArrayLike,
        offsets: ArrayLike,
        neighbors: ArrayLike,
        pair_vectors: ArrayLike,
        wanted: tuple[str, ...] = (*RESULTS[:4], "pair_gradients"),
    ) -> dict[str, np.ndarray]:
        numbers = np.ascontiguousarray(atomic_numbers, dtype=np.int32)
        starts = np.ascontiguousarray(offsets, dtype=np.int64)
        others = np.ascontiguousarray(neighbors, dtype=np.int32)
        vectors = np.ascontiguousarray(pair_vectors, dtype=np.float64)
        rows = Rows(
            n_atoms=len(numbers),
            n_owned=len(starts) - 1,
            atomic_numbers=numbers.ctypes.data_as(integers),
            offsets=starts.ctypes.data_as(long_integers),
            neighbors=others.ctypes.data_as(integers),
            pair_vectors=as_doubles(vectors),
        )
        found = make_room(wanted, len(numbers), len(starts) - 1, len(others))
        self.call("evaluate_rows", self.model, rows, results_into(found))
        return found


def as_doubles(array: np.ndarray | None) -> Any:
    """Return the pointer of a contiguous float64 array, or NULL."""
    return None if array is None else array.ctypes.data_as(doubles)


def make_room(wanted: tuple[str, ...], n_atoms: int, n_owned: int, n_pairs: int) -> dict[str, Any]:
    """Return arrays filled with NaN, with the shapes documented in ekd.h."""
    shapes = {
        "energy": (),
        "atomic_energies": (n_owned,),
        "forces": (n_atoms, 3),
        "virial": (3, 3),
        "energy_std": (),
        "forces_std": (n_atoms,),
        "uncertainty": (n_owned,),
        "pair_gradients": (n_pairs, 3),
    }
    return {name: np.full(shapes[name], np.nan) for name in wanted}


def results_into(arrays: dict[str, np.ndarray]) -> Results:
    """Return the struct that points to the arrays."""
    return Results(**{name: as_doubles(array) for name, array in arrays.items()})
