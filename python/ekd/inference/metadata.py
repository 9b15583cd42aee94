"""The metadata of an exported model, as Python sees them.

They are read and checked in C++ (``cpp/src/runtime/model_file.cpp``), by the code that LAMMPS
uses, so that both accept and refuse the same files in the same words.
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
"""Version of the file format that this version writes; the reader's are in model_metadata.hpp."""

FORMAT_RECORD = "ekd_format"
METADATA_RECORD = "ekd_metadata.json"


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an exported model, as far as the names in its archive say."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"extra/{FORMAT_RECORD}") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return False


@dataclass(frozen=True)
class ModelMetadata:
    """What an exported model says about itself; docs/exported_model.md describes each field."""

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
    """The pairs of two elements within the cutoff, in the training data of a model.

    Attributes:
        elements: chemical symbols, in the order of the elements of the model.
        n_pairs: number of pairs, each counted once; of several students the smallest.
        distance: the shortest, Å; of several students the largest of theirs. Infinity: a student
            has seen none.
    """

    elements: tuple[str, str]
    n_pairs: int
    distance: float


def training_pairs(metadata: ModelMetadata) -> list[TrainingPairs]:
    """For each pair of elements, what the training data of all students have of it.

    Empty where the file does not tell it of every student.
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
        ModelFileError: no such file, not an exported model, truncated or damaged, another format.
    """
    return read_card(path)[0]


def read_card(path: str | os.PathLike[str]) -> tuple[ModelMetadata, str]:
    """As :func:`read_metadata`, and the SHA-256 of the same bytes in hexadecimal.

    Raises:
        ModelFileError: as :func:`read_metadata`.
    """
    document, _, sha256 = _native.core().read_model_file(os.fspath(path))
    return ModelMetadata(**json.loads(document)), sha256


def has_weights(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds its weights as plain numbers, which are read without torch.

    Raises:
        ModelFileError: as :func:`read_metadata`.
    """
    _, found, _ = _native.core().read_model_file(os.fspath(path))
    return bool(found)
