"""Exported models with random weights: what a test of an engine needs, without any training."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from ekd.config import HIPNNConfig
from ekd.export import export_model
from ekd.models import HIPNN

ELEMENTS = [1, 6, 7, 8]
REFERENCE_ENERGIES = [-13.6, -1029.8, -1485.3, -2041.8]  # eV, about those of the free atoms


def random_network(seed: int = 0, **settings: object) -> tuple[HIPNN, HIPNNConfig]:
    """A small float64 network; keyword arguments are fields of HIPNNConfig."""
    defaults = {"n_features": 8, "n_sensitivities": 6, "cutoff": 4.0, "soft_max": 3.5}
    config = HIPNNConfig(**{**defaults, **settings})  # type: ignore[arg-type]
    torch.manual_seed(seed)
    return HIPNN(config, ELEMENTS, REFERENCE_ENERGIES).double(), config


def random_model(path: Path, dtype: str = "float64", **settings: object) -> Path:
    """Export a random network to ``path``."""
    network, config = random_network(**settings)
    export_model(network, path, config=config, dtype=dtype)
    return path


def rewritten(source: Path, target: Path, edit: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive in which ``edit(name, content)`` replaces or drops records."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            content = edit(item.filename.split("/", 1)[1], old.read(item))
            if content is not None:
                new.writestr(item.filename, content)
    return target


def future_format(source: Path, target: Path, number: str = "2") -> Path:
    """A copy of an exported model that claims another format number."""

    def edit(name: str, content: bytes) -> bytes:
        return number.encode() if name == "extra/ekd_format" else content

    return rewritten(source, target, edit)
