"""Sections that describe data sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ekd.config.section import FilePath, Section

Where = dict[str, str | int | float | bool | list[str | int | float | bool]]
"""Required values, or lists of accepted values, of configuration keys."""


class DataConfig(Section):
    """The training set: true energies, no forces needed."""

    path: FilePath = Field(
        description="file written by 'ekd prepare', or any other format described in docs/data.md"
    )
    energy: str | None = Field(
        None,
        description="key of the energy, e.g. 'ccsd(t)_ccpvdz.energy'; default: depends on the "
        "format; not needed for prepared files",
    )
    energy_unit: str | None = Field(
        None,
        description="unit of the energy; default: the unit stated in the file, else Hartree for "
        "HDF5 and eV for ASE formats",
    )
    keys: dict[str, str] = Field(
        {},
        description="nonstandard keys of 'positions', 'numbers', 'cell' and 'pbc' in HDF5 and "
        ".npz files",
    )
    where: Where = Field(
        {},
        description="keep only configurations whose keys have these values, or one of a list of "
        "values, e.g. {config_type = 'liquid'}",
    )
    states: Literal["neutral", "all"] | None = Field(
        None,
        description="treatment of charged and open-shell configurations in a mixed data set: "
        "'neutral' omits them, 'all' keeps them; default: an error",
    )
    stream: bool | None = Field(
        None,
        description="leave the arrays of a prepared file on disk; default: if they are larger "
        "than 1 GiB. Results are the same",
    )
    reference_energies: dict[str, float] | None = Field(
        None,
        description="energy of an atom of each element, e.g. {H = -13.6, O = -2041.8}, subtracted "
        "from total energies (eV); default: isolated atoms in the file, else a fit",
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="fraction held out of training for validation"
    )
    split_by: Literal["configuration", "formula"] = Field(
        "configuration",
        description="unit of the split; 'formula' keeps all conformers of a formula together",
    )
    split_seed: int = Field(0, ge=0, description="seed of the split")


class LabelledDataConfig(Section):
    """A data set with energies and forces."""

    path: FilePath = Field(description="data file, in the formats of the training set")
    energy: str | None = Field(None, description="key of the energy, as in [data]")
    forces: str | None = Field(None, description="key of the forces")
    energy_unit: str | None = Field(
        None, description="unit of the energy, as in [data]; forces are in this unit per Å"
    )
    keys: dict[str, str] = Field({}, description="as in [data]")
    where: Where = Field({}, description="as in [data]")
    states: Literal["neutral", "all"] | None = Field(None, description="as in [data]")


class TestConfig(LabelledDataConfig):
    """A test set: energies and, if available, true forces."""

    __test__ = False  # not a test class, despite its name
