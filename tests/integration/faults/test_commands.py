"""Commands that write files are killed, interrupted or run on a full disk, and then continued.

By default, only the first commands are tested. ``EKD_FAULTS="20 8 9"`` sets the numbers of kills,
disks and signals for every command, which takes longer.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fault_folder import fill, run_faults

NUMBERS = os.environ.get("EKD_FAULTS", "").split()
EVERY_DAY = ["prepare", "train", "label"]
ALL = [
    "prepare",
    "pool",
    "pretrain",
    "train",
    "label",
    "distill",
    "evaluate",
    "export",
    "report",
    "evaluate models",
    "stability",
    "committee",
    "upgrade",
]


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, training_file: Path, test_file: Path
) -> dict[str, Any]:
    """Outcomes of all commands, computed once because they take most of the time."""
    top = tmp_path_factory.mktemp("faults")
    fill(top / "start", training_file, test_file, with_pool=bool(NUMBERS))
    return run_faults(top, *NUMBERS, timeout=7200)


@pytest.mark.parametrize("command", ALL if NUMBERS else EVERY_DAY)
def test_ends_and_continues(outcome: dict[str, Any], command: str) -> None:
    """After a fault, files are intact, and the same command gives the same results."""
    for fault in ("kill", "disk", "signal"):
        assert outcome[command][fault]["differ"] == [], fault
    for status, output in outcome[command]["disk"]["ends"]:
        assert status == 1, output
        assert "No space left on device" in output
        assert " free of " in output
        one_error(output)
    for number, status, seconds, output in outcome[command]["signal"]["ends"]:
        assert status == 128 + number, output
        assert f"interrupted by {signal.Signals(number).name}" in output
        assert "Traceback" not in output
        assert seconds < 60


def one_error(output: str) -> None:
    assert "Traceback" not in output
    assert "this is a bug" not in output
    assert output.count("error:") == 1


def test_enough_were_hit(outcome: dict[str, Any]) -> None:
    """If all commands finished before the faults, the test above would be meaningless."""
    n_kills = sum(found["kill"]["file"] + found["kill"]["timer"] for found in outcome.values())
    assert n_kills >= 2
    disks = [found["disk"] for found in outcome.values()]
    if sum(len(disk["ends"]) + disk["completed"] for disk in disks) == 0:
        pytest.skip("this user may not mount a small disk")
    assert sum(len(disk["ends"]) for disk in disks) >= 2
