"""TorchANI's ANI-1ccx ensemble as teachers of ekd.

The weights are in TorchANI's wheel on PyPI: ``pip install torchani==2.0 'setuptools<81'``.
"""

from __future__ import annotations

import torchani
from ase.calculators.calculator import Calculator


def ani1ccx(member: int | None = None) -> Calculator:
    """One of the eight networks of ANI-1ccx, or their mean, in float64.

    Smith et al., Nat. Commun. 10, 2903 (2019): trained on DFT, then on CCSD(T)*/CBS, for molecules
    of H, C, N and O.
    """
    model = torchani.models.ANI1ccx().double()
    return (model if member is None else model[member]).ase()
