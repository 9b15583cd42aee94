"""Prepared files as input, to merge them or to drop configurations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ekd.data import prepared
from ekd.data.readers.source import Block, Request, Source, config_ranges
from ekd.errors import DataError


class PreparedSource(Source):
    """A file made by ``ekd prepare``; its keys and units are fixed.

    Raises:
        DataError: the file is damaged, or the request names a key or a unit that it was not
            prepared with.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        header = prepared.read_header(path)
        check_request(path, header, request)
        self.energy_key = "energies"
        self.level_of_theory = header.level_of_theory
        self.has_forces = header.has_forces
        self.n_configs = header.n_configs

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """See :meth:`Source.blocks`."""
        with prepared.opened(self.path) as file:
            offsets = file["offsets"][()]
            names = np.array(prepared.group_names(file), dtype=np.str_)
            for first, last in config_ranges(offsets, start):
                atoms = slice(int(offsets[first]), int(offsets[last]))
                configs = slice(first, last)
                yield Block(
                    n_read=last - first,
                    sizes=np.diff(offsets[first : last + 1]),
                    atomic_numbers=file["atomic_numbers"][atoms].astype(np.int64),
                    positions=file["positions"][atoms],
                    energies=file["energies"][configs],
                    groups=names[file["group_index"][configs]],
                    forces=file["forces"][atoms] if "forces" in file else None,
                    cells=file["cells"][configs] if "cells" in file else None,
                    pbc=file["pbc"][configs].astype(bool) if "pbc" in file else None,
                )


def check_request(path: Path, header: prepared.Header, request: Request) -> None:
    """Refuse a request that a prepared file cannot fulfill.

    Raises:
        DataError: it names a key or a unit that the file was not prepared with.
    """
    sources = header.preparation["sources"]
    for what in ("energy", "forces"):
        key = getattr(request, what)
        known = {source[what] for source in sources} - {None}
        if key is not None and key not in known:
            held = " and ".join(f"'{name}'" for name in sorted(known)) or f"no {what}"
            raise DataError(
                f"'{path}' was prepared with {held} and does not have '{key}'; leave the key out, "
                "or prepare the data with it",
                code="EKD-DATA-035",
            )
    if request.where or request.states:
        raise DataError(
            f"'{path}' is a prepared file, which does not contain the keys that where and states "
            "need; leave them out, or prepare the data with them",
            code="EKD-DATA-085",
        )
    if request.energy_unit or request.length_unit or request.gradients:
        raise DataError(
            f"'{path}' is a prepared file in eV, Å and eV/Å; leave the units out",
            code="EKD-DATA-042",
        )
