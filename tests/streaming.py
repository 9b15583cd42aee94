"""Datasets for tests, mapped from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ekd.data import Dataset, load_dataset, prepared


def streamed(data: Dataset, path: Path) -> Dataset:
    """Write data to a file and return them mapped from it."""
    names, index = np.unique(data.groups, return_inverse=True)
    arrays = {
        name: getattr(data, name)
        for name in ("offsets", "atomic_numbers", "positions", "energies", "cells", "pbc", "forces")
        if getattr(data, name) is not None
    }
    arrays["group_index"] = index
    prepared.write(
        path,
        {name: [array] for name, array in arrays.items()},
        {name: array.shape for name, array in arrays.items()},
        names.tolist(),
        data.provenance.level_of_theory,
        0,
        {"sources": []},
        compress=False,
    )
    mapped = load_dataset(path, stream=True)
    assert mapped.is_mapped
    return mapped
