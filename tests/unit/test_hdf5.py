"""HDF5 files on failing disks: one error, no crash, and otherwise the same file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ekd.hdf5 import new_file

NUMBERS = np.random.default_rng(0).random((60_000, 3))
OPTIONS = {
    "compressed": {"chunks": (1000, 3), "compression": "gzip", "fletcher32": True},
    "contiguous": {},
}


def write(path: Path, options: dict[str, object], most: int | None = None) -> int:
    """Return the number of pieces that were written."""
    n_pieces = 0
    with new_file(path) as (file, check):
        dataset = file.create_dataset("x", NUMBERS.shape, "f8", **options)
        for start in range(0, len(NUMBERS), 5000):
            dataset[start : start + 5000] = NUMBERS[start : start + 5000]
            n_pieces += 1
            check()
        for k in range(300):
            file.create_group(f"group {k}").attrs["text"] = "x" * 100
    return n_pieces


@pytest.mark.parametrize("kind", OPTIONS)
def test_is_a_sound_file(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a.h5", OPTIONS[kind])
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["x"], NUMBERS)
        assert file["group 299"].attrs["text"] == "x" * 100
        assert (file["x"].id.get_offset() is None) == (kind == "compressed")


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("room", [0, 1, 3000, 200_000, 900_000])
def test_refused_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, room: int
) -> None:
    """On a full disk, the error is raised immediately, and closing the file is safe."""
    pwrite = os.pwrite

    def limited(descriptor: int, content: memoryview, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, content[: room - offset], offset)

    monkeypatch.setattr(os, "pwrite", limited)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.h5'") as caught:
        write(tmp_path / "a.h5", OPTIONS[kind])
    assert caught.value.errno == errno.ENOSPC


def test_what_h5py_makes_of_it(tmp_path: Path) -> None:
    """At a limit of file sizes, a process may crash with h5py's own driver, but not with ours."""
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom test_hdf5 import OPTIONS, write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n    write(Path(sys.argv[1]), OPTIONS['compressed'])\n"
        "except OSError as error:\n    print(error.errno, error.filename)\n"
    )
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.h5")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(errno.EFBIG), str(tmp_path / "a.h5")]
    assert not done.stderr
