"""Files are complete or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ekd.errors import DataError, EKDError
from ekd.files import atomic_write, remove, remove_leftovers, sha256, unchanged


def test_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.txt"
    for content in ("first", "second"):
        with atomic_write(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == target.suffix
            temporary.write_text(content)
        assert target.read_text() == content
    assert list(target.parent.iterdir()) == [target]


def test_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_refusal_of_the_system_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(EKDError, match=r"cannot write '.*x\.txt'.*check the folder"),
        atomic_write(tmp_path / "file" / "x.txt") as temporary,
    ):
        temporary.write_text("never")


def test_target_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with (
        pytest.raises(EKDError, match=r"cannot write '.*taken'"),
        atomic_write(tmp_path / "taken") as temporary,
    ):
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_leftovers_of_killed_writers(tmp_path: Path) -> None:
    path, kept = tmp_path / "model.pt", {"model.pt", ".model-mine.pt", ".other-0123abcd.pt"}
    for name in kept:
        (tmp_path / name).touch()
    script = (
        "import os, sys\nfrom ekd.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=environment)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 4
    remove_leftovers(path)
    assert {file.name for file in tmp_path.iterdir()} == kept


def test_exclusive_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Eight processes increment a number in a file; a lost update would be visible."""
    counter, lock = tmp_path / "counter", tmp_path / "lock"
    counter.write_text("0")
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom ekd.files import exclusive\n"
        "counter = Path(sys.argv[1])\n"
        "for _ in range(20):\n"
        "    with exclusive(sys.argv[2]):\n"
        "        number = int(counter.read_text())\n"
        "        time.sleep(0.001)\n"
        "        counter.write_text(str(number + 1))\n"
    )
    command = [sys.executable, "-c", script, str(counter), str(lock)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [subprocess.Popen(command, env=environment) for _ in range(8)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 8
    assert counter.read_text() == "160"
    assert not lock.exists()


def test_full_disk_names_file_and_room(tmp_path: Path) -> None:
    with (
        pytest.raises(EKDError, match="No space left on device") as caught,
        atomic_write(tmp_path / "new" / "x.txt"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    told = str(caught.value)
    assert told.startswith(
        f"cannot write '{tmp_path / 'new' / 'x.txt'}': No space left on device ("
    )
    assert re.search(rf"[\d.]+ \w+ free of [\d.]+ \w+ in '{tmp_path / 'new'}'\)", told)
    assert list((tmp_path / "new").iterdir()) == []


def test_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("first")
    with unchanged(path):
        path.read_text()
    with pytest.raises(DataError, match=r"x' has changed while it was read"), unchanged(path):
        path.write_text("the second one")


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("folder", "link", "not there"):
        remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
