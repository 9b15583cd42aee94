"""Flat arrays on disk that grow block by block and survive killing of the process.

Every array is an append-only file. A journal records the number of valid bytes of each file and the
position in the sources; it is replaced atomically after the arrays have been synced to disk. The
next process truncates everything written after the last journal, and continues from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ekd.data.isolated_atoms import merge, take_out
from ekd.data.readers import Block
from ekd.data.readers.observed import Observed
from ekd.files import sync
from ekd.locks import lock_file, locked_folder

SECONDS_PER_COMMIT = 2.0
"""Approximate limit of the work that is lost if the process is killed."""

_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "sizes": ("<i8", ()),
    "atomic_numbers": ("|u1", ()),
    "positions": ("<f8", (3,)),
    "energies": ("<f8", ()),
    "group_index": ("<i4", ()),
    "cells": ("<f8", (3, 3)),
    "pbc": ("|b1", (3,)),
    "forces": ("<f8", (3,)),
}


class Staging:
    """The arrays of a preparation in progress; a context that locks them for other processes.

    Args:
        folder: folder of the arrays; files of another request are removed.
        request: everything that the arrays depend on, as JSON types.
        has_forces: whether forces are kept.

    Attributes:
        source: index of the source that is being read.
        n_read: number of configurations of this source that have been read.
        dropped: number of configurations without an energy, by source.
        seen: other counts, by source.
        group_names: names of groups in the order of their first configuration.
        isolated_atoms: energies of frames marked as isolated atoms, eV by atomic number.

    Raises:
        EKDError: another process is using the folder.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any], has_forces: bool) -> None:
        self.folder = folder
        self.source = 0
        self.n_read = 0
        self.dropped: list[int] = []
        self.seen: list[Observed] = []
        self.group_names: list[str] = []
        self.isolated_atoms: dict[int, float] = {}
        self._groups: dict[str, int] = {}
        self._request = json.loads(json.dumps(request))
        self._has_forces = has_forces
        self._files: dict[str, BinaryIO] = {}
        self._lengths = dict.fromkeys(_ARRAYS, 0)
        self._committed = time.monotonic()
        self._stack = contextlib.ExitStack()  # closes the files, then the lock

    def __enter__(self) -> Staging:
        self._stack.enter_context(locked_folder(self.folder))
        try:
            if not self._restore():
                self._clear()
            for name in _ARRAYS:
                file = self._stack.enter_context((self.folder / name).open("ab"))
                file.truncate(self._lengths[name])
                self._files[name] = file
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def append(self, block: Block, path: Path) -> None:
        """Add a block of the source that is being read, whose file is ``path``.

        Raises:
            DataError: isolated atoms contradict each other, or have several atoms.
        """
        n_without = block.n_read - len(block) - block.seen.n_left_out
        block, isolated = take_out(block, path)
        merge(self.isolated_atoms, isolated, path)
        n_configs, n_atoms = len(block), len(block.positions)
        index = [self._group(str(name)) for name in block.groups]
        forces = block.forces
        if self._has_forces and forces is None:
            forces = np.full((n_atoms, 3), np.nan)
        arrays = {
            "sizes": block.sizes,
            "atomic_numbers": block.atomic_numbers,
            "positions": block.positions,
            "energies": block.energies,
            "group_index": np.array(index),
            "cells": block.cells,
            "pbc": block.pbc,
            "forces": forces if self._has_forces else None,
        }
        for name, array in arrays.items():
            kind, shape = _ARRAYS[name]
            if array is not None:
                self._files[name].write(np.ascontiguousarray(array, dtype=kind).data)
                self._lengths[name] += array.size * np.dtype(kind).itemsize
            elif name != "forces":  # no cells: zeros, which take no space in a sparse file
                self._files[name].flush()
                row = np.dtype((kind, shape)).itemsize
                self._lengths[name] += n_configs * row
                self._files[name].truncate(self._lengths[name])
        self.n_read += block.n_read
        self._count_dropped(n_without)
        self.seen[self.source].add(block.seen)
        self._commit_if_due()

    def next_source(self) -> None:
        """Record that the source has been read completely."""
        self._count_dropped(0)
        self.source += 1
        self.n_read = 0
        self._commit_if_due()

    def commit(self) -> None:
        """Sync everything so far to disk, so that it survives killing of the process."""
        for file in self._files.values():
            file.flush()
            sync(file.name)
        state = {
            "request": self._request,
            "source": self.source,
            "n_read": self.n_read,
            "dropped": self.dropped,
            "seen": [seen.to_json() for seen in self.seen],
            "group_names": self.group_names,
            "isolated_atoms": self.isolated_atoms,
            "lengths": self._lengths,
        }
        temporary = self.folder / "journal.new"
        temporary.write_text(json.dumps(state))
        sync(temporary)
        temporary.replace(self.folder / "journal.json")
        sync(self.folder)
        self._committed = time.monotonic()

    def array(self, name: str) -> NDArray[Any]:
        """Map all rows of an array so far; cells and pbc are zero for non-periodic configurations.

        Raises:
            OSError: there is no space for the zeros.
        """
        kind, shape = _ARRAYS[name]
        file, length = self._files[name], self._lengths[name]
        file.flush()
        n_rows = length // np.dtype((kind, shape)).itemsize
        if n_rows == 0:  # nothing can be mapped
            return np.zeros((0, *shape), dtype=kind)
        # Space for holes of a mapped file is allocated on first access. If there is none, as on a
        # full tmpfs, the process ends by SIGBUS.
        os.posix_fallocate(file.fileno(), 0, length)
        return np.memmap(self.folder / name, kind, "r", shape=(n_rows, *shape))

    def remove(self) -> None:
        """Delete the folder after the preparation."""
        self._clear()
        lock_file(self.folder).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process may already use it
            self.folder.rmdir()

    def _commit_if_due(self) -> None:
        if time.monotonic() - self._committed >= SECONDS_PER_COMMIT:
            self.commit()

    def _group(self, name: str) -> int:
        if name not in self._groups:
            self._groups[name] = len(self.group_names)
            self.group_names.append(name)
        return self._groups[name]

    def _count_dropped(self, n_dropped: int) -> None:
        self.dropped += [0] * (self.source + 1 - len(self.dropped))
        self.dropped[self.source] += n_dropped
        self.seen += [Observed() for _ in range(self.source + 1 - len(self.seen))]

    def _restore(self) -> bool:
        try:
            state = json.loads((self.folder / "journal.json").read_text())
            if state["request"] != self._request:
                return False
            lengths = {name: int(state["lengths"][name]) for name in _ARRAYS}
            if any((self.folder / name).stat().st_size < lengths[name] for name in _ARRAYS):
                return False
            self.source, self.n_read = state["source"], state["n_read"]
            self.dropped, self.group_names = state["dropped"], state["group_names"]
            self.seen = [Observed.from_json(content) for content in state["seen"]]
            self.isolated_atoms = {int(z): e for z, e in state["isolated_atoms"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return False  # missing or not usable: start anew
        self._lengths = lengths
        self._groups = {name: index for index, name in enumerate(self.group_names)}
        return True

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path != lock_file(self.folder):
                path.unlink()
