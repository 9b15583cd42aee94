"""Exported models with random weights, for tests of engines without training."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from ekd.config import HIPNNConfig
from ekd.elements import symbol
from ekd.export import export_model
from ekd.models import HIPNN
from ekd.neighbor_list import NeighborList, neighbor_list

ELEMENTS = [1, 6, 7, 8]
REFERENCE_ENERGIES = [-13.6, -1029.8, -1485.3, -2041.8]  # eV, approximate free-atom energies


def random_network(
    seed: int = 0, n_hidden: int | None = None, **settings: object
) -> tuple[HIPNN, HIPNNConfig]:
    """A small float64 network; keyword arguments are fields of HIPNNConfig.

    With ``n_hidden``, it has an uncertainty head; the other weights are the same.
    """
    defaults = {"n_features": 8, "n_sensitivities": 6, "cutoff": 4.0, "soft_max": 3.5}
    config = HIPNNConfig(**{**defaults, **settings})  # type: ignore[arg-type]
    torch.manual_seed(seed)
    return HIPNN(config, ELEMENTS, REFERENCE_ENERGIES, n_hidden).double(), config


def random_model(
    path: Path,
    dtype: str = "float64",
    n_hidden: int | None = None,
    closest: Mapping[str, float] | None = None,
    **settings: object,
) -> Path:
    """Export a random network to ``path``; ``closest`` is for :func:`closest_pairs`."""
    network, config = random_network(n_hidden=n_hidden, **settings)
    provenance = [] if closest is None else [{"closest_pairs": closest_pairs(closest)}]
    export_model(network, path, config=config, dtype=dtype, provenance=provenance)
    return path


def closest_pairs(distances: Mapping[str, float]) -> list[dict[str, object]]:
    """Metadata of training data with only these closest pairs, Å by pair such as "H-O"."""
    by_pair = {frozenset(pair.split("-")): distance for pair, distance in distances.items()}
    symbols = [symbol(z) for z in ELEMENTS]
    found: list[dict[str, object]] = []
    for elements in itertools.combinations_with_replacement(symbols, 2):
        distance = by_pair.get(frozenset(elements))
        n_pairs = 0 if distance is None else 10
        found.append({"elements": list(elements), "n_pairs": n_pairs, "distance": distance})
    return found


def random_committee(
    path: Path,
    n_members: int = 3,
    dtype: str = "float64",
    n_hidden: int | None = None,
    **settings: object,
) -> list[Path]:
    """Export random networks to one file, and each to ``<name>-<k>.pt``; return those."""
    pairs = [random_network(seed=k, n_hidden=n_hidden, **settings) for k in range(n_members)]
    export_model([network for network, _ in pairs], path, config=pairs[0][1], dtype=dtype)
    alone = [path.with_name(f"{path.stem}-{k}.pt") for k in range(n_members)]
    for target, (network, config) in zip(alone, pairs, strict=True):
        export_model(network, target, config=config, dtype=dtype)
    return alone


def with_changed_weights(
    source: Path, target: Path, change: Callable[[torch.jit.ScriptModule], object]
) -> Path:
    """Copy an exported model with a changed module and the same records."""
    records = {"ekd_format": "", "ekd_metadata.json": ""}
    module = torch.jit.load(source, _extra_files=records)
    with torch.no_grad():
        change(module)
    torch.jit.save(module, target, _extra_files=records)
    return target


def rewritten(source: Path, target: Path, edit: Callable[[str, bytes], bytes | None]) -> Path:
    """Copy an archive; ``edit(name, content)`` replaces or drops records."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            content = edit(item.filename.split("/", 1)[1], old.read(item))
            if content is not None:
                new.writestr(item.filename, content)
    return target


def with_other_class(source: Path, target: Path) -> Path:
    """Copy an exported model, renaming its network so that the runtime has no kernels for it.

    The copy contains only TorchScript, like files of other networks.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if "/extra/ekd_weights" in item.filename:
                continue
            content = old.read(item).replace(b"models.hipnn", b"models.other")
            new.writestr(item.filename.replace("models/hipnn", "models/other"), content)
    return target


def without_weights(source: Path, target: Path) -> Path:
    """Copy an exported model with only TorchScript, as before format 4."""
    return rewritten(
        source, target, lambda name, content: None if "ekd_weights" in name else content
    )


def other_format(source: Path, target: Path, number: str = "5") -> Path:
    """Copy an exported model with another format number."""

    def edit(name: str, content: bytes) -> bytes:
        return number.encode() if name == "extra/ekd_format" else content

    return rewritten(source, target, edit)


def pairs_of(atoms: Atoms) -> tuple[np.ndarray, NeighborList]:
    """Species and pairs for the elements and cutoff of the random networks."""
    species = np.array([ELEMENTS.index(z) for z in atoms.numbers], dtype=np.int64)
    return species, neighbor_list(atoms.positions, 4.0, atoms.cell.array, atoms.pbc)
