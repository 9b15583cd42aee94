"""``load_dataset``: one call for every format, into memory or streamed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ekd.data import doubts, prepared
from ekd.data.dataset import Dataset, Provenance
from ekd.data.isolated_atoms import only_isolated_atoms, take_out
from ekd.data.readers import Block, Request, join, open_source
from ekd.data.readers.prepared_files import PreparedSource
from ekd.data.readers.source import flat_cells, incomplete, no_energies, nothing_selected
from ekd.elements import atomic_number
from ekd.errors import DataError, DataWarning
from ekd.files import sha256, unchanged


def load_dataset(
    path: str | os.PathLike[str],
    energy: str | None = None,
    forces: str | None = None,
    energy_unit: str | None = None,
    *,
    length_unit: str | None = None,
    gradients: bool = False,
    format: str | None = None,
    stream: bool | None = None,
    keys: Mapping[str, str] | None = None,
    reference_energies: Mapping[str, float] | None = None,
    where: Mapping[str, Any] | None = None,
    states: Literal["neutral", "all"] | None = None,
) -> Dataset:
    """Read a dataset and convert it to eV and Å.

    Configurations without a finite energy under the key are dropped and counted in
    ``provenance.n_dropped``. Frames with ``config_type=IsolatedAtom`` are not configurations; their
    energies become the reference energies.

    Args:
        path: a file made by ``ekd prepare``; HDF5 in the layout of ANI-1x/ANI-1ccx or of
            pyanitools (ANI-1, COMP6); ``.npz`` of sGDML, MD17 or rMD17; extended XYZ or any format
            of ASE.
        energy: key of the energy, e.g. ``ccsd(t)_cbs.energy``. None: ``energies`` in the layout of
            pyanitools; ``E``, ``energies`` or ``energy`` in ``.npz``; ``energy`` in formats of ASE.
            Not needed for a prepared file.
        forces: key of the forces; None: energies only. A prepared file provides the forces it
            contains.
        energy_unit: unit of the energy; None: as stated in the file, otherwise Hartree for HDF5 and
            eV for ASE formats; required if an ``.npz`` does not state it.
        length_unit: unit of positions and cells; None: as stated in the file, otherwise Å. Forces
            are in energy unit per length unit, unless the file states another unit.
        gradients: the key of the forces contains energy gradients, whose sign is reversed.
        format: name of an ASE format; None: determined by suffix and content.
        stream: map the arrays of a prepared file from disk instead of reading them into memory.
            None: if they are larger than 1 GiB. The results are the same. A compressed file is
            unpacked once, into ``NAME.unpacked.h5`` in the same folder.
        keys: names of ``positions``, ``numbers``, ``cell`` and ``pbc`` in HDF5 or ``.npz``, if they
            are not listed in docs/data.md: ``{"positions": "xyz", "numbers": "charges"}``.
        reference_energies: eV by chemical symbol, for every element in the data, used by models
            instead of fitted values or isolated atoms. None: isolated atoms in the file, otherwise
            fitted.
        where: required values (or lists of values) of keys; other configurations are dropped:
            ``{"config_type": ["liquid", "dimer"]}``. Keys of the comment line, of database rows,
            of ``.npz`` arrays, or of HDF5 groups or their attributes.
        states: what to do if, according to the file, some configurations are charged or have
            unpaired electrons and others do not: ``"neutral"`` drops them, ``"all"`` keeps them.
            None: raise an error.

    Warns:
        DataWarning: the data can be read but may not be as intended: several energies, coarse
            energies, energies or lengths that seem to be in another unit, zeros instead of energies
            or forces, one geometry with two energies, or all configurations charged.

    Raises:
        DataError: the file is missing or not readable, a key or unit is unknown, a unit contradicts
            the one stated in HDF5 or an ASE database, no configuration has the energy, a
            configuration with an energy lacks the requested forces, shapes disagree, a reference
            energy is missing or is not for an element, charges, spins or methods are mixed, or the
            file has changed while it was read.
    """
    given = _by_number(reference_energies)
    path = Path(path)
    request = Request(
        energy, forces, energy_unit, length_unit, gradients, format, keys, where, states
    )
    with unchanged(path):
        return _load(path, request, stream, given)


def _load(
    path: Path, request: Request, stream: bool | None, given: dict[int, float] | None
) -> Dataset:
    source = open_source(path, request)
    if isinstance(source, PreparedSource):
        return prepared.load(path, stream, reference_energies=given)
    if stream:
        raise DataError(
            f"'{path}' cannot be streamed as it is; run 'ekd prepare {path}' first",
            code="EKD-DATA-012",
        )
    blocks = list(source.blocks())
    n_read = sum(block.n_read for block in blocks)
    if n_read == 0:
        raise DataError(
            f"'{path}' has no configurations; check that the file is complete", code="EKD-DATA-003"
        )
    block = join(blocks)
    if len(block) == 0 and not block.seen.n_left_out:
        raise no_energies(path, source.energy_key, n_read)
    found = source.verdict(block.seen)
    if len(block) == 0:
        raise nothing_selected(path, n_read)
    n_dropped = n_read - len(block)
    block, isolated = take_out(block, path)
    if len(block) == 0:
        raise only_isolated_atoms(str(path))
    _check(path, block, request.forces)
    offsets = np.concatenate([[0], np.cumsum(block.sizes)]).astype(np.int64)
    dataset = Dataset(
        atomic_numbers=block.atomic_numbers,
        positions=block.positions,
        offsets=offsets,
        energies=block.energies,
        groups=block.groups,
        provenance=Provenance(str(path), sha256(path), source.level_of_theory, n_dropped),
        forces=block.forces,
        cells=block.cells,
        pbc=block.pbc,
        reference_energies=given or isolated or None,
    )
    found += doubts.of_dataset(dataset, block.seen.precision.size or None)
    for text in found:
        warnings.warn(text, DataWarning, stacklevel=3)
    return dataset


def _by_number(energies: Mapping[str, float] | None) -> dict[int, float] | None:
    """Convert keys to atomic numbers; None if no energies are given."""
    if energies is None:
        return None
    found = {atomic_number(name): float(energy) for name, energy in energies.items()}
    bad = {name: energy for name, energy in energies.items() if not np.isfinite(energy)}
    if bad or not found:
        raise DataError(
            f"reference_energies = {dict(energies)}: expected a finite number (eV) for every "
            "element of the data; leave it out to have them fitted",
            code="EKD-DATA-013",
        )
    return found


def _check(path: Path, block: Block, forces: str | None) -> None:
    """Refuse values that would otherwise fail much later, as a NaN loss."""
    if (block.sizes == 0).any():
        raise DataError(
            f"'{path}' has a configuration without atoms; remove it", code="EKD-DATA-014"
        )
    if not np.isfinite(block.positions).all():
        raise DataError(
            f"'{path}' has positions that are not finite; remove those configurations, or run "
            "'ekd prepare' with --drop-incomplete",
            code="EKD-DATA-015",
        )
    if block.forces is not None and (bad := incomplete(block.forces, block.sizes)).any():
        raise DataError(
            f"{int(bad.sum())} of {len(block)} configurations with an energy in '{path}' have no "
            f"finite '{forces}'; leave the forces out, remove those configurations, or run 'ekd "
            "prepare' with --drop-incomplete",
            code="EKD-DATA-016",
        )
    if block.cells is not None and block.pbc is not None:
        flat = flat_cells(block.cells, block.pbc)
        if flat.any():
            raise DataError(
                f"'{path}' has {int(flat.sum())} periodic configurations whose lattice vectors "
                "are missing or lie in one plane; give them (in extended XYZ as 'Lattice', in HDF5 "
                "as 'cell'), or set 'pbc' to false in those directions",
                code="EKD-DATA-017",
            )
