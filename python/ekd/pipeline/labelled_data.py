"""Reading of labeled data sets given in a configuration."""

from __future__ import annotations

import warnings

from ekd.config import LabelledDataConfig
from ekd.data import Dataset, load_dataset
from ekd.errors import DataWarning
from ekd.preparation.forces_check import of_dataset


def load_labelled(section: LabelledDataConfig | None) -> Dataset | None:
    """Read the data set of a section; None without the section.

    Raises:
        DataError: as for :func:`ekd.load_dataset`.
    """
    if section is None:
        return None
    data = load_dataset(
        section.path,
        energy=section.energy,
        forces=section.forces,
        energy_unit=section.energy_unit,
        keys=section.keys,
        where=section.where,
        states=section.states,
    )
    if (text := of_dataset(data)) is not None:
        warnings.warn(f"'{section.path.name}': {text}", DataWarning, stacklevel=2)
    return data
