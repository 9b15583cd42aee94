"""Molecular dynamics in LAMMPS: plugin folder, inputs, runs and their output files.

LAMMPS imports this package at its start to get the folder of the plugin. Therefore submodules are
imported only when they are used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ekd.lammps.registration import register as register

__all__ = ["register"]


def __getattr__(name: str) -> Any:
    if name != "register":
        raise AttributeError(f"module 'ekd.lammps' has no attribute '{name}'")
    from ekd.lammps.registration import register

    return register
