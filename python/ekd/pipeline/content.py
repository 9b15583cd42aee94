"""Content of result files, and comparison of two of them.

Two runs with equal results still write different bytes: checkpoints contain times, exported files
the date, reports both. Therefore, the content of a file is defined as a set of named values without
these.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.errors import DataError
from ekd.export.weights import DESCRIPTION_RECORD, NUMBERS_RECORD
from ekd.files import sha256
from ekd.inference.metadata import METADATA_RECORD, is_exported
from ekd.lammps.logs import read_thermo
from ekd.training import checkpoint

TOLERANCE = 1e-6
"""Largest relative deviation of results that are equal within tolerance."""

FLOOR = 1e-9
"""Deviation that is always ignored, in the units of the file (eV, eV/Å, Å, ps)."""

Value = NDArray[Any] | str | None
Content = dict[str, Callable[[], Value]]
"""Values by name; large arrays are read on demand."""

_TIMES = re.compile(r"(.*_)?(seconds|per_second)$")  # "seconds", "configs_per_second", ...
_OF_THE_WRITER = {"ekd_version", "torch_version", "created_utc"}
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", re.IGNORECASE)


class Verdict(Enum):
    """The outcome of a comparison."""

    EQUAL = "bitwise equal"
    CLOSE = "equal within tolerance"
    DIFFERENT = "different"
    MISSING = "missing"
    EXTRA = "not there before"


@dataclass(frozen=True)
class Comparison:
    """Difference between the results of two runs.

    Attributes:
        verdict: the outcome.
        deviation: largest relative deviation of a number; None: non-numeric values differ.
        where: name of the value that deviates most.
    """

    verdict: Verdict
    deviation: float | None = 0.0
    where: str = ""

    @property
    def passed(self) -> bool:
        """Whether the results are equal, at least within tolerance."""
        return self.verdict in (Verdict.EQUAL, Verdict.CLOSE)


def is_compared(path: str | os.PathLike[str]) -> bool:
    """Whether the content of a file is compared.

    Pictures and HTML pages show the content of other files, with times and dates. Screen output of
    LAMMPS repeats its logs, and TensorBoard logs repeat ``history.csv``.
    """
    path = PurePath(path)
    shown = {".png", ".pdf", ".svg", ".html", ".screen"}
    return path.suffix not in shown and not path.name.startswith("events.out.tfevents")


def content_sha256(path: Path) -> str:
    """Checksum of the content of a file, independent of place and time of its creation.

    Raises:
        EKDError: the file is damaged.
    """
    digest = hashlib.sha256()
    content = content_of(path)
    for name in sorted(content):
        value = content[name]()
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value)
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
        else:
            digest.update(f"{name} {json.dumps(value)}\n".encode())
    return digest.hexdigest()


def compare_files(there: Path, now: Path, tolerance: float = TOLERANCE) -> Comparison:
    """Compare the contents of two files.

    Args:
        there: result of the first run.
        now: result of the second run.
        tolerance: largest relative deviation; for an array, relative to its largest element.

    Raises:
        EKDError: a file is damaged.
    """
    if sha256(there) == sha256(now):
        return Comparison(Verdict.EQUAL)
    before, after = content_of(there), content_of(now)
    if before.keys() != after.keys():
        name = min(before.keys() ^ after.keys())
        return Comparison(Verdict.DIFFERENT, None, name)
    equal, worst, where = True, 0.0, ""
    for name in sorted(before):
        one, other = before[name](), after[name]()
        if _is_same(one, other):
            continue
        equal = False
        deviation = _deviation(one, other)
        if deviation is None:
            return Comparison(Verdict.DIFFERENT, None, name)
        if deviation > worst:
            worst, where = deviation, name
    if equal:
        return Comparison(Verdict.EQUAL)
    verdict = Verdict.CLOSE if worst <= tolerance else Verdict.DIFFERENT
    return Comparison(verdict, worst, where)


def content_of(path: Path) -> Content:
    """Return the content of a file, depending on its type.

    Raises:
        EKDError: the file is damaged.
    """
    suffix = path.suffix
    try:
        if suffix == ".pt":
            return _exported(path) if is_exported(path) else _checkpoint(path)
        if suffix == ".h5":
            return _hdf5(path)
        if suffix == ".npz":
            return _npz(path)
        if suffix == ".json":
            return _of(json.loads(path.read_text(encoding="utf-8")))
        if suffix == ".csv":
            return _csv(path)
        if suffix == ".log":
            return _of(read_thermo(path))
        return _text(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"'{path}' cannot be compared: it is damaged ({error}); run its stage again",
            code="EKD-RUN-013",
        ) from None


def _of(tree: Any) -> Content:
    return {name: partial(_itself, value) for name, value in _leaves(tree)}


def _itself(value: Value) -> Value:
    return value


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Value]]:
    """Yield the values of nested JSON types and arrays, without times and folders."""
    if isinstance(tree, Mapping):
        for key, entry in tree.items():
            if not _TIMES.match(str(key)) and key not in _OF_THE_WRITER:
                yield from _leaves(entry, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, (list, tuple)):
        if tree and all(isinstance(entry, (int, float)) for entry in tree):
            yield name, np.array(tree, dtype=np.float64)
        else:
            yield f"{name}.length", np.array(float(len(tree)))
            for number, entry in enumerate(tree):
                yield from _leaves(entry, f"{name}.{number}")
    elif isinstance(tree, (bool, int, float)):
        yield name, np.array(tree, dtype=np.float64)
    elif isinstance(tree, (str, os.PathLike)):
        yield name, PurePath(tree).name if PurePath(tree).is_absolute() else str(tree)
    elif tree is None:
        yield name, None
    else:  # an array of numpy, or a tensor
        array = tree.numpy() if hasattr(tree, "numpy") else np.asarray(tree)
        if array.dtype.kind in "OSU":
            yield from _leaves([_decoded(entry) for entry in array.ravel().tolist()], name)
        else:
            yield name, array


def _decoded(entry: Any) -> str:
    return entry.decode(errors="replace") if isinstance(entry, bytes) else str(entry)


def _checkpoint(path: Path) -> Content:
    return _of(checkpoint.load(path))


def _exported(path: Path) -> Content:
    """Metadata and plain weights; the TorchScript is made from the same weights."""
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        metadata, described, numbers = (
            archive.read(names[name])
            for name in (f"extra/{METADATA_RECORD}", DESCRIPTION_RECORD, NUMBERS_RECORD)
        )
    description = json.loads(described)
    weights = {
        array["name"]: np.frombuffer(
            numbers,
            np.dtype(array["dtype"]).newbyteorder("<"),
            math.prod(array["shape"]),
            array["offset"],
        ).reshape(array["shape"])
        for array in description.pop("arrays")
    }
    return _of(
        {
            "metadata": json.loads(metadata),
            "description": description["members"],
            "weights": weights,
        }
    )


def _hdf5(path: Path) -> Content:
    content: Content = {}

    def attributes(place: h5py.HLObject, name: str) -> None:
        for key, value in place.attrs.items():
            text = _decoded(value) if isinstance(value, (bytes, str)) else None
            tree = _parsed(text) if text is not None else value
            content.update(_of({f"{name}@{key}": tree}))

    def visit(name: str, place: h5py.HLObject) -> None:
        attributes(place, name)
        if isinstance(place, h5py.Dataset):
            if place.dtype.kind in "OS":
                content.update(_of({name: place.asstr()[()]}))
            else:
                content[name] = partial(_read_dataset, path, name)

    with h5py.File(path) as file:
        attributes(file, "")
        file.visititems(visit)
    return content


def _read_dataset(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path) as file:
        array: NDArray[Any] = np.asarray(file[name][()])
        return array


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _npz(path: Path) -> Content:
    with np.load(path) as archive:
        return _of({name: archive[name] for name in archive.files})


def _csv(path: Path) -> Content:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return _of({name: _numbers(values) for name, values in columns.items()})


def _numbers(words: list[str]) -> Any:
    """Convert words to numbers, empty ones to NaN; unchanged if any is not a number."""
    if all(word == "" or _NUMBER.fullmatch(word) for word in words):
        return np.array([float(word) if word else math.nan for word in words])
    return words


def _text(path: Path) -> Content:
    """Return the numbers in a text, and the text around them."""
    numbers, around = [], []
    for word in path.read_text(errors="replace").split():
        if _NUMBER.fullmatch(word):
            numbers.append(float(word))
            around.append("#")
        else:
            around.append(word)
    return _of({"numbers": np.array(numbers), "text": " ".join(around)})


def _is_same(one: Value, other: Value) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    return type(one) is type(other) and bool(one == other)


def _deviation(one: Value, other: Value) -> float | None:
    """Relative deviation of two values; None if their kinds or shapes differ."""
    if isinstance(one, str) and isinstance(other, str):
        # Checksums of weights are ignored, because the weights themselves are compared.
        return 0.0 if _CHECKSUM.fullmatch(one) and _CHECKSUM.fullmatch(other) else None
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return None
    if one.shape != other.shape or one.dtype.kind not in "biuf" or other.dtype.kind not in "biuf":
        return None
    first, second = one.astype(np.float64), other.astype(np.float64)
    if not np.array_equal(np.isnan(first), np.isnan(second)):
        return math.inf
    both = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(first[~both], second[~both], equal_nan=True):
        return math.inf
    difference = float(np.abs(first[both] - second[both]).max(initial=0.0))
    if difference <= FLOOR:
        return 0.0
    return difference / float(np.maximum(np.abs(first[both]), np.abs(second[both])).max())
