"""The release file of ANI-1x and ANI-1ccx: Smith et al., Sci. Data 7, 134 (2020).

One group per formula with ``atomic_numbers`` [n] and ``coordinates`` [m, n, 3] (Å), and many
properties with keys such as ``ccsd(t)_cbs.energy`` [m] or ``wb97x_dz.forces`` [m, n, 3], NaN for
configurations for which they were not computed. Energies are in Hartree.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from ekd.data.readers.hdf5_groups import GroupSource
from ekd.data.readers.hdf5_walk import molecule_groups, opened
from ekd.data.readers.keys import find
from ekd.data.readers.source import Request
from ekd.errors import DataError


class AniReleaseSource(GroupSource):
    """A file in the layout of this release.

    Raises:
        DataError: the key of the energy is not given, or no group has it.
    """

    numbers_key = "atomic_numbers"

    def __init__(self, path: Path, request: Request) -> None:
        super().__init__(path, request, request.energy or _ask_for_key(path, request))


def _ask_for_key(path: Path, request: Request) -> str:
    """Raise an error that lists the keys with one number per configuration."""
    candidates = set()
    with opened(path) as file:
        for _, group in molecule_groups(file, request.keys):
            n_configs = group[find("positions", group, request.keys)].shape[:1]
            shapes = (n_configs, (*n_configs, 1))
            candidates |= {
                name
                for name, array in group.items()
                if isinstance(array, h5py.Dataset) and array.shape in shapes
            }
    known = ", ".join(sorted(candidates)) or "none"
    raise DataError(
        f"'{path}' may hold several energies: give the key of one. Keys with one number per "
        f"configuration: {known}",
        code="EKD-DATA-023",
    )
