"""The kinds of files that are damaged, by name."""

from __future__ import annotations

from collections.abc import Callable

from config_kinds import TOML
from dataset_kinds import NPZ, ExtendedXYZ
from hdf5_kinds import HDF5, Labels, Prepared
from kind import Kind
from model_kinds import Checkpoint, Exported, Script

KINDS: dict[str, Callable[[], Kind]] = {
    kind.name: kind
    for kind in (
        *(Exported, Script, Checkpoint),
        *(HDF5, Labels, Prepared),
        *(ExtendedXYZ, NPZ),
        TOML,
    )
}
