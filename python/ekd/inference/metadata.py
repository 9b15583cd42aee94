"""Python interface to the metadata of an exported model.

They are read and checked in C++ (``cpp/src/runtime/model_file.cpp``), by the same code as in
LAMMPS, so both accept and refuse the same files with the same messages.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

from ekd import _native

FORMAT = 4
"""Format of the files written by this version; readable formats are in model_metadata.hpp."""

FORMAT_RECORD = "ekd_format"
METADATA_RECORD = "ekd_metadata.json"


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an exported model, judging by the names in its archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"extra/{FORMAT_RECORD}") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return False


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of an exported model; docs/exported_model.md describes each field."""

    ekd_version: str
    torch_version: str
    created_utc: str
    model: dict[str, Any]
    units: dict[str, str]
    dtype: str
    elements: list[str]
    atomic_numbers: list[int]
    cutoff: float
    interaction_range: float
    n_interactions: int
    feature_widths: list[int]
    n_members: int
    strictly_local: bool
    energy_reference: dict[str, float]
    provenance: list[dict[str, Any]]
    required_ops: list[str]
    self_test: dict[str, Any]
    uncertainty: bool = False


@dataclass(frozen=True)
class TrainingPairs:
    """Pairs of two elements within the cutoff, in the training data of a model.

    Attributes:
        elements: chemical symbols, in the order of the elements of the model.
        n_pairs: number of pairs, each counted once; for several students, the smallest number.
        distance: shortest distance, Å; for several students, the largest of their shortest
            distances. Infinity: a student has seen no such pair.
    """

    elements: tuple[str, str]
    n_pairs: int
    distance: float


def training_pairs(metadata: ModelMetadata) -> list[TrainingPairs]:
    """Return the pairs in the training data of all students, for each pair of elements.

    Empty if the file lacks this information for any student.
    """
    order = metadata.elements.index
    found: dict[tuple[str, str], TrainingPairs] = {}
    for student in metadata.provenance:
        if "closest_pairs" not in student:
            return []
        for entry in student["closest_pairs"]:
            first, second = sorted(entry["elements"], key=order)
            distance = math.inf if entry["n_pairs"] == 0 else float(entry["distance"])
            pair = TrainingPairs((first, second), entry["n_pairs"], distance)
            known = found.get(pair.elements, pair)
            found[pair.elements] = TrainingPairs(
                pair.elements,
                min(pair.n_pairs, known.n_pairs),
                max(pair.distance, known.distance),
            )
    return sorted(found.values(), key=lambda pair: [order(name) for name in pair.elements])


def read_metadata(path: str | os.PathLike[str]) -> ModelMetadata:
    """Read and check the metadata of an exported model, without loading the model.

    Raises:
        ModelFileError: the file is missing, not an exported model, damaged or of another format.
    """
    return read_card(path)[0]


def read_card(path: str | os.PathLike[str]) -> tuple[ModelMetadata, str]:
    """Like :func:`read_metadata`, with the SHA-256 of the same bytes in hexadecimal.

    Raises:
        ModelFileError: as :func:`read_metadata`.
    """
    document, _, sha256 = _native.core().read_model_file(os.fspath(path))
    return ModelMetadata(**json.loads(document)), sha256


def has_weights(path: str | os.PathLike[str]) -> bool:
    """Whether a file contains its weights as plain numbers, which are read without torch.

    Raises:
        ModelFileError: as :func:`read_metadata`.
    """
    _, found, _ = _native.core().read_model_file(os.fspath(path))
    return bool(found)
