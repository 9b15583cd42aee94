"""Missing, wrong or inaccessible paths: one error each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fault_folder import ROOT, environment
from untrained import teacher

ENERGY = ("--energy", "ccsd(t)_ccpvdz.energy")
MOLECULE = ("--molecule", "H2O", "--duration", "0.01", "--seeds", "1", "--workers", "1")

# Arguments of the command, and words of the message. `plain` is a file, `folder` is a folder, and
# `nowhere.*` are broken links.
CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "output is a file": (
        ("train", "config.toml", "--output", "plain"),
        r"'.*plain' is a file, and a folder is needed there",
    ),
    "evaluation into a file": (
        ("evaluate", "model.pt", "train.h5", *ENERGY, "-o", "plain"),
        r"'plain' is a file, and a folder is needed there",
    ),
    "stability into a file": (
        ("stability", "model.pt", *MOLECULE, "-o", "plain"),
        r"'plain' is a file, and a folder is needed there",
    ),
    "prepared file is a folder": (
        ("prepare", "train.h5", *ENERGY, "-o", "folder.h5"),
        r"'folder.h5' is a folder; name a file",
    ),
    "prepared file replaces a folder": (
        ("prepare", "train.h5", *ENERGY, "-o", "folder.h5", "--overwrite"),
        r"'folder.h5' is a folder; name a file",
    ),
    "prepared file under a file": (
        ("prepare", "train.h5", *ENERGY, "-o", "plain/x.h5"),
        r"cannot write 'plain/.*Not a directory|cannot write 'plain/.*File exists",
    ),
    "committee is a folder": (
        ("committee", "network.pt", "-o", "folder", "--overwrite"),
        r"cannot write 'folder'",
    ),
    "upgraded model is a folder": (("upgrade", "old.pt", "-o", "folder"), "cannot write 'folder'"),
    "data are a folder": (("prepare", "folder", "-o", "x.h5"), "'folder'"),
    "data lead nowhere": (("prepare", "nowhere.h5", "-o", "x.h5"), r"'nowhere\.h5' not found"),
    "training data lead nowhere": (
        ("train", "nowhere.toml"),
        r"'.*nowhere\.toml' not found|configuration '.*nowhere\.toml'",
    ),
    "configuration is a folder": (("train", "folder"), "'folder'"),
    "model is a folder": (("inspect", "folder"), "'folder'"),
    "model leads nowhere": (("inspect", "nowhere.pt"), r"'nowhere\.pt'"),
    "checked model is a folder": (("check", "folder"), "'folder'"),
    "upgrade of a folder": (("upgrade", "folder"), "'folder'"),
    "student is a folder": (
        ("committee", "folder", "-o", "x.pt"),
        r"'folder/checkpoint\.pt' cannot be read: Is a directory",
    ),
    "student leads nowhere": (("committee", "nowhere.pt", "-o", "x.pt"), r"'nowhere\.pt'"),
    "structure leads nowhere": (
        ("stability", "model.pt", "nowhere.xyz"),
        r"no structure to start from \('nowhere\.xyz' is not there\)",
    ),
    "evaluated model leads nowhere": (("evaluate", "nowhere.pt", "train.h5", *ENERGY), "nowhere"),
    "record is a folder": (
        ("train", "config.toml", "--output", "odd", "--resume"),
        r"'.*odd/stages\.json' cannot be read \(Is a directory\)",
    ),
    "checkpoint is a folder": (
        ("committee", "folder/checkpoint.pt", "-o", "x.pt"),
        r"'folder/checkpoint\.pt'",
    ),
}

# The same for a user who may not read `secret.*` or write to `closed`.
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "configuration": (("train", "secret.toml"), r"secret\.toml' is not readable"),
    "data": (("prepare", "secret.h5", "-o", "open/x.h5"), r"secret\.h5' is not readable"),
    "model": (("inspect", "secret.pt"), r"secret\.pt' is not readable"),
    "student": (("committee", "secret.pt", "-o", "open/x.pt"), r"secret\.pt' is not readable"),
    "upgraded": (("upgrade", "secret.pt", "-o", "open/y.pt"), r"secret\.pt' is not readable"),
    "structure": (
        ("stability", "model.pt", "secret.xyz", "-o", "open/s"),
        r"secret\.xyz.*ermission denied",
    ),
    "output": (
        ("train", "config.toml", "--output", "closed/run"),
        r"cannot write '.*closed/run.*Permission denied",
    ),
    "prepared file": (
        ("prepare", "train.h5", *ENERGY, "-o", "closed/x.h5"),
        r"cannot write 'closed/.*Permission denied",
    ),
    "committee": (
        ("committee", "network.pt", "-o", "closed/x.pt"),
        r"cannot write 'closed/x\.pt'.*Permission denied",
    ),
    "new model": (
        ("upgrade", "old.pt", "-o", "closed/x.pt"),
        r"cannot write 'closed/x\.pt'.*Permission denied",
    ),
    "evaluation": (
        ("evaluate", "model.pt", "train.h5", *ENERGY, "-o", "closed/e"),
        r"cannot write 'closed/e'.*Permission denied",
    ),
    "stability": (
        ("stability", "model.pt", *MOLECULE, "-o", "closed/s"),
        r"cannot write '.*closed/s'.*Permission denied",
    ),
}

CONFIG = """
output = "run"
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
[teachers]
n_members = 2
[teachers.training]
epochs = 1
"""

SCRIPT = """
import json, os, sys
from pathlib import Path
from faults import run

folder, cases = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
ends = {}
for name, (arguments, user) in cases.items():
    end = run(folder, tuple(arguments), (lambda: os.setuid(user)) if user else None)
    ends[name] = vars(end)
Path(sys.argv[3]).write_text(json.dumps(ends))
"""

NOBODY = 65534


@pytest.fixture(scope="module")
def folder(tiny_training_file: Path) -> Iterator[Path]:
    # Folders of pytest are not accessible to other users.
    with tempfile.TemporaryDirectory(prefix="ekd-paths-") as top:
        Path(top).chmod(0o755)
        yield filled(Path(top) / "here", tiny_training_file)


def filled(place: Path, tiny_training_file: Path) -> Path:
    place.mkdir()
    shutil.copy(tiny_training_file, place / "train.h5")
    shutil.copy(ROOT / "tests" / "golden" / "exported-2.pt", place / "old.pt")
    shutil.copy(ROOT / "python" / "ekd" / "lammps" / "smoke_test.pt", place / "model.pt")
    teacher(0).save(place / "network.pt")
    (place / "config.toml").write_text(CONFIG)
    (place / "plain").write_text("text")
    (place / "folder").mkdir()
    (place / "folder" / "checkpoint.pt").mkdir()
    (place / "folder.h5").mkdir()
    (place / "odd" / "stages.json").mkdir(parents=True)
    for suffix in ("h5", "pt", "toml", "xyz"):
        (place / f"nowhere.{suffix}").symlink_to(place / "is not there")
        (place / f"secret.{suffix}").write_bytes(b"secret")
        (place / f"secret.{suffix}").chmod(0)
    for name in ("closed", "open"):
        (place / name).mkdir()
        (place / name).chmod(0o555 if name == "closed" else 0o777)
    return place


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[str, Any]:
    """How all commands ended."""
    user = NOBODY if os.geteuid() == 0 else 0  # root can read and write everything
    cases = {f"odd: {name}": (arguments, 0) for name, (arguments, _) in CASES.items()}
    cases |= {f"refused: {name}": (arguments, user) for name, (arguments, _) in REFUSED.items()}
    given, found = folder.parent / "cases.json", folder.parent / "ends.json"
    given.write_text(json.dumps(cases))
    printed = folder.with_name(f"{folder.name}.output")
    printed.touch()
    printed.chmod(0o666)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(given), str(found)],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(found.read_text())
    return outcome


def check(end: dict[str, Any], expected: str) -> None:
    output = " ".join(end["output"].split())
    assert end["status"] in (1, 2), output  # 2: an argument is refused before the command starts
    assert "Traceback" not in output
    assert "this is a bug" not in output
    assert output.count("error:" if end["status"] == 1 else "Error") == 1
    assert re.search(expected, output), output


@pytest.mark.parametrize("case", CASES)
def test_odd_paths(ends: dict[str, Any], case: str) -> None:
    check(ends[f"odd: {case}"], CASES[case][1])


@pytest.mark.parametrize("case", REFUSED)
def test_no_permission(ends: dict[str, Any], case: str) -> None:
    check(ends[f"refused: {case}"], REFUSED[case][1])


def test_nothing_was_touched(folder: Path, ends: dict[str, Any]) -> None:
    assert (folder / "plain").read_text() == "text"
    assert list((folder / "closed").iterdir()) == []
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
