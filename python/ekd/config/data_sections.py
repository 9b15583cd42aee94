"""Sections that name data sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ekd.config.section import FilePath, Section

Where = dict[str, str | int | float | bool | list[str | int | float | bool]]
"""Values, or lists of them, by keys of configurations."""


class DataConfig(Section):
    """The training set: true energies, no forces needed."""

    path: FilePath = Field(
        description="a file made by 'ekd prepare', or any other format of docs/data.md"
    )
    energy: str | None = Field(
        None,
        description="key of the energy, e.g. 'ccsd(t)_ccpvdz.energy'; None: as the format has it; "
        "a prepared file needs none",
    )
    energy_unit: str | None = Field(
        None,
        description="unit of the energy; None: what the file says, else Hartree in HDF5, eV in "
        "formats of ASE",
    )
    keys: dict[str, str] = Field(
        {},
        description="where HDF5 or .npz has 'positions', 'numbers', 'cell' and 'pbc', if under "
        "unusual names",
    )
    where: Where = Field(
        {},
        description="values, or lists of them, that keys of the configurations must have, e.g. "
        "{config_type = 'liquid'}; others are left out",
    )
    states: Literal["neutral", "all"] | None = Field(
        None,
        description="charged and open-shell configurations among others: 'neutral' leaves them "
        "out, 'all' keeps them; None: they are an error",
    )
    stream: bool | None = Field(
        None,
        description="leave the arrays of a prepared file on disk; None: if they are larger than "
        "1 GiB. Results are the same",
    )
    reference_energies: dict[str, float] | None = Field(
        None,
        description="eV of every element of the data, e.g. {H = -13.6, O = -2041.8}, that is "
        "subtracted from total energies; None: those of isolated atoms in the file, otherwise "
        "fitted",
    )
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share held out of training")
    split_by: Literal["configuration", "formula"] = Field(
        "configuration", description="'formula' keeps all conformers of a formula on one side"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split")


class LabelledDataConfig(Section):
    """A data set with energies and forces."""

    path: FilePath = Field(description="same formats as the training set")
    energy: str | None = Field(None, description="key of the energy, as in [data]")
    forces: str | None = Field(None, description="key of the forces")
    energy_unit: str | None = Field(None, description="as in [data]; forces are in this unit per Å")
    keys: dict[str, str] = Field({}, description="as in [data]")
    where: Where = Field({}, description="as in [data]")
    states: Literal["neutral", "all"] | None = Field(None, description="as in [data]")


class TestConfig(LabelledDataConfig):
    """A test set: energies and, where there are any, true forces."""

    __test__ = False  # not a test class, whatever its name tells pytest
