"""Structures of the quickstart with energies of ANI-1ccx: data at the level of its teachers.

Writes ``ani1ccx.h5`` (energies) and ``ani1ccx_test.h5`` (energies and forces) into this folder.
Run it here with ``python make_data.py``.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

import ekd

HERE = Path(__file__).parent


def main(n_training: int = 1200, data: Path = HERE.parent / "data") -> None:
    """Ask the mean of the ensemble about some structures of training and test set."""
    key = "ccsd(t)_ccpvdz.energy"
    training = ekd.load_dataset(data / "ccsdt_chno.h5", energy=key)
    chosen = np.random.default_rng(0).permutation(len(training))[:n_training]
    test = ekd.load_dataset(data / "ccsdt_chno_test.h5", energy=key)
    for name, structures in (("ani1ccx", training.subset(chosen)), ("ani1ccx_test", test)):
        mean = ekd.ASETeacher("torchani_teacher:ani1ccx", folder=HERE, use_energies=True)
        labels = ekd.label(mean, structures)
        write(HERE / f"{name}.h5", structures, labels)


def write(path: Path, structures: ekd.Dataset, labels: ekd.Labels) -> None:
    """Write the layout that :func:`ekd.load_dataset` reads, here in eV."""
    assert labels.energies is not None
    with h5py.File(path, "w") as file:
        file.attrs["level_of_theory"] = "ANI-1ccx"
        for formula in np.unique(structures.formulas):
            configs = np.flatnonzero(structures.formulas == formula)
            first = structures.subset(configs[:1])
            order = [np.argsort(structures.atoms(c).numbers, kind="stable") for c in configs]
            rows = np.array(
                [structures.offsets[c] + o for c, o in zip(configs, order, strict=True)]
            )
            group = file.create_group(str(formula))
            group["atomic_numbers"] = np.sort(first.atomic_numbers)
            group["coordinates"] = structures.positions[rows]
            group["energy"] = labels.energies[configs]
            group["forces"] = labels.forces[rows]


if __name__ == "__main__":
    main()
