"""Molecular dynamics in LAMMPS: where the plugin lies, inputs, runs, what they wrote.

LAMMPS imports this package at its start, to ask for the folder of the plugin: nothing is imported
here before it is asked for.
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
