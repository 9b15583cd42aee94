"""Finished parts of a long calculation, kept in a folder to resume after interruptions.

Each part is a file with a checksum of its arrays, written atomically. The file ``plan.json``
describes the calculation that the parts belong to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd import workers
from ekd.distillation.count_progress import Counter
from ekd.errors import DataError, TeacherError
from ekd.files import atomic_write

Arrays = dict[str, NDArray[Any]]

_PLAN = "plan.json"


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of arrays, in order of their names."""
    result = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        result.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        result.update(array.tobytes())
    return result.hexdigest()


class Parts:
    """A folder of numbered parts.

    Args:
        folder: the folder, created if it is missing.
        plan: everything that the parts depend on, as JSON values.
        resume: keep existing parts. Otherwise, or if they have no plan, they are removed.

    Raises:
        DataError: existing parts belong to another plan.
    """

    def __init__(self, folder: str | os.PathLike[str], plan: dict[str, Any], resume: bool) -> None:
        self.folder = Path(folder)
        there = _read_plan(self.folder) if resume else None
        if there is not None:
            require_same_plan(f"the unfinished parts in '{self.folder}'", there, plan)
            return
        self.remove()
        with atomic_write(self.folder / _PLAN) as temporary:
            temporary.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def begun(folder: str | os.PathLike[str]) -> bool:
        """Whether a folder contains a plan, and possibly parts."""
        return _read_plan(Path(folder)) is not None

    def complete(
        self,
        job: workers.Job,
        sizes: Sequence[int],
        n_workers: int | None,
        name: str,
        progress: bool,
    ) -> None:
        """Make all parts that are missing or damaged, in this process or in several.

        Args:
            job: the job; its tasks are the numbers of the parts, which it saves.
            sizes: size of each part, for the progress.
            n_workers: number of processes; None: ``EKD_WORKERS`` if set, else one per core. With
                one, the work is done in this process.
            name: name of the contents, for the progress and errors.
            progress: show a bar on standard error, or lines if it is not a terminal.

        Raises:
            TeacherError: a process was lost.
        """
        missing = [number for number in range(len(sizes)) if not self._has(number)]
        n_workers = min(n_workers or workers.default_workers(), len(missing))
        there = sum(sizes) - sum(sizes[number] for number in missing)
        with Counter(name, sum(sizes), there, enabled=progress) as counter:

            def listen(event: workers.Event) -> None:
                if event.kind == "done":
                    counter.add(sizes[event.task])

            workers.complete(
                job,
                missing,
                n_workers,
                listen,
                name=lambda number: f"{name}, part {number}",
                lost=TeacherError,
                advice=f"Finished parts in '{self.folder}' are intact: continue with resume=True",
            )

    def _has(self, number: int) -> bool:
        try:
            self.load(number)
        except DataError:
            return False
        return True

    def save(self, number: int, arrays: Arrays) -> None:
        """Write a part."""
        with atomic_write(self._path(number)) as temporary:
            everything: dict[str, Any] = {"sha256": np.array(digest(arrays)), **arrays}
            np.savez(temporary, **everything)

    def load(self, number: int) -> Arrays:
        """Read a part.

        Raises:
            DataError: the part is missing or damaged.
        """
        path = self._path(number)
        try:
            with path.open("rb") as file, np.load(file) as archive:
                arrays = dict(archive)
            intact = str(arrays.pop("sha256")) == digest(arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            intact = False
        if not intact:
            raise DataError(
                f"'{path}' is missing or damaged; repeat the calculation with resume=True",
                code="EKD-LABELS-010",
            )
        return arrays

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.npz"


def _read_plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plan


def require_same_plan(what: str, there: dict[str, Any], now: dict[str, Any]) -> None:
    """Compare two plans, ignoring keys with a leading underscore, which are only for messages.

    Raises:
        DataError: they differ; the message lists the differences.
    """

    def shown(plan: dict[str, Any], key: str) -> Any:
        return plan.get(f"_{key}", plan.get(key))

    differences = [
        f"{key}: {shown(there, key)!r} there, {shown(now, key)!r} now"
        for key in sorted({*there, *now})
        if there.get(key) != now.get(key) and not key.startswith("_")
    ]
    if differences:
        raise DataError(
            f"{what} were made with other settings or data:\n  "
            + "\n  ".join(differences)
            + "\nrestore these, write to another path, or start over with resume=False",
            code="EKD-LABELS-009",
        )
