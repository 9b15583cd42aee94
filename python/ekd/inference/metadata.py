"""The metadata of an exported model, as Python sees them.

They are read and checked in C++ (``cpp/src/runtime/model_file.cpp``), by the code that LAMMPS
uses, so that both accept and refuse the same files in the same words.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import torch

from ekd import _native
from ekd.errors import ModelFileError

FORMAT = 3
"""Version of the file format that this version writes; the reader's are in model_metadata.hpp."""

FORMAT_RECORD = "ekd_format"
METADATA_RECORD = "ekd_metadata.json"


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


def read_metadata(path: str | os.PathLike[str]) -> ModelMetadata:
    """Read and check the metadata of an exported model, without loading the model.

    Raises:
        ModelFileError: no such file, not an exported model, truncated or damaged, another format,
            operators that this build of ekd lacks.
        BuildError: ekd was built for another torch.
    """
    _native.load_ops()
    try:
        document = torch.ops.ekd.read_model_file(os.fspath(path))
    except RuntimeError as error:
        raise ModelFileError(str(error)) from None
    return ModelMetadata(**json.loads(document))
