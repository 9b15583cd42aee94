"""One process at a time writes to a folder; a second one gets an error about the first."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ekd.errors import EKDError
from ekd.locks import locked_file, locked_folder

HOLDER = """
import sys, time
from ekd.locks import locked_file, locked_folder
sys.argv[0] = "/somewhere/bin/ekd"
kind, path, shared = sys.argv[1:4]
lock = locked_file(path) if kind == "file" else locked_folder(path, shared == "shared")
with lock:
    print("held", flush=True)
    time.sleep(60)
"""


def hold(kind: str, path: Path, shared: str = "alone") -> subprocess.Popen[str]:
    """A process that holds a lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(path), shared],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_who_holds_it_and_what_a_kill_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    holder = hold("folder", folder)
    with (
        pytest.raises(EKDError, match="another process is writing to") as caught,
        locked_folder(folder),
    ):
        pass
    told = str(caught.value)
    assert f"'{folder}': process {holder.pid} on {socket.gethostname()}, since 20" in told
    assert f"(ekd folder {folder} alone); wait until it has ended" in told
    kill(holder)
    assert (folder / ".lock").exists()
    with locked_folder(folder):  # the lock of a dead process has no effect
        assert json.loads((folder / ".lock").read_text())["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


def test_files_have_their_lock_beside_them(tmp_path: Path) -> None:
    holder = hold("file", tmp_path / "labels.h5")
    with (
        pytest.raises(EKDError, match=r"writing to '.*labels\.h5'"),
        locked_file(tmp_path / "labels.h5"),
    ):
        pass
    with locked_file(tmp_path / "pool.h5"):
        assert sorted(os.listdir(tmp_path)) == [".labels.h5.lock", ".pool.h5.lock"]
    kill(holder)


def test_some_share(tmp_path: Path) -> None:
    holder = hold("folder", tmp_path, "shared")
    with locked_folder(tmp_path, shared=True):
        pass
    assert (tmp_path / ".lock").exists()  # still held by the other process
    with pytest.raises(EKDError, match="another process"), locked_folder(tmp_path):
        pass
    kill(holder)
    with locked_folder(tmp_path, shared=True):
        pass
    assert not (tmp_path / ".lock").exists()


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.warns(RuntimeWarning, match="without locks .*make sure that no other"),
        locked_folder(tmp_path),
    ):
        pass


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EKDError, match=r"is a file, and a folder is needed.*EKD-RUN-012"),
        locked_folder(tmp_path / "file"),
    ):
        pass
    with pytest.raises(EKDError, match="cannot write"), locked_file(tmp_path / "file" / "x.h5"):
        pass
