"""The release file of ANI-1x and ANI-1ccx: Smith et al., Sci. Data 7, 134 (2020).

One group per formula with ``atomic_numbers`` [n] and ``coordinates`` [m, n, 3] (Å), and many
properties with keys such as ``ccsd(t)_cbs.energy`` [m] or ``wb97x_dz.forces`` [m, n, 3], NaN for
the configurations that it was not computed for. Energies are in Hartree.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.hdf5_groups import GroupSource, molecule_groups, opened
from ekd.data.readers.source import Request, mismatch
from ekd.errors import DataError


class AniReleaseSource(GroupSource):
    """A file in the layout of that release.

    Raises:
        DataError: no key of the energy is given, or no group has it.
    """

    def __init__(self, path: Path, request: Request) -> None:
        super().__init__(path, request, request.energy or _ask_for_key(path))

    def _atomic_numbers(self, group: h5py.Group) -> NDArray[np.int64]:
        name = group.name.strip("/")
        if "atomic_numbers" not in group:
            raise DataError(
                f"group '{name}' of '{self.path}' has no 'atomic_numbers', only {', '.join(group)}"
            )
        numbers = np.asarray(group["atomic_numbers"], dtype=np.int64)
        if numbers.ndim != 1:
            raise mismatch(self.path, name, "atomic_numbers", numbers.shape, "(n,)")
        return numbers


def _ask_for_key(path: Path) -> str:
    """Raise the error that names the keys with one number per configuration."""
    with opened(path) as file:
        candidates = {
            name
            for group in molecule_groups(file)
            for name, array in group.items()
            if isinstance(array, h5py.Dataset) and array.shape == group["coordinates"].shape[:1]
        }
    known = ", ".join(sorted(candidates)) or "none"
    raise DataError(
        f"'{path}' may hold several energies: give the key of one. Keys with one number per "
        f"configuration: {known}"
    )
