"""Every command that writes: killed, on a disk that is full, told to end; then it is continued.

``EKD_FAULTS="20 8 9"`` asks for so many kills, disks and signals of each command.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fault_folder import fill, run_faults

COMMANDS = [
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
NUMBERS = os.environ.get("EKD_FAULTS", "2 1 1").split()


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, training_file: Path, test_file: Path
) -> dict[str, Any]:
    """What came of all commands; running them takes the time."""
    top = tmp_path_factory.mktemp("faults")
    fill(top / "start", training_file, test_file)
    return run_faults(top, *NUMBERS, timeout=7200)


@pytest.mark.parametrize("command", COMMANDS)
def test_kill_leaves_no_trace(outcome: dict[str, Any], command: str) -> None:
    found = outcome[command]["kill"]
    assert found["file"] + found["timer"] == int(NUMBERS[0])
    assert found["differ"] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_full_disk_is_one_error(outcome: dict[str, Any], command: str) -> None:
    found = outcome[command]["disk"]
    if not found["ends"] and not found["completed"]:
        pytest.skip("this user may not mount a small disk")
    for status, output in found["ends"]:
        assert status == 1, output
        assert "Traceback" not in output
        assert "this is a bug" not in output
        assert output.count("error:") == 1
        assert "No space left on device" in output
        assert " free of " in output
    assert found["differ"] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_told_to_end(outcome: dict[str, Any], command: str) -> None:
    found = outcome[command]["signal"]
    for number, status, seconds, output in found["ends"]:
        assert status == 128 + number, output
        assert f"interrupted by {signal.Signals(number).name}" in output
        assert "Traceback" not in output
        assert seconds < 30
    assert len(found["ends"]) + found["completed"] == int(NUMBERS[2])
    assert found["differ"] == []


def test_enough_were_hit(outcome: dict[str, Any]) -> None:
    """A test in which every command gets to its end in time would show nothing."""
    if NUMBERS[1] != "0" and any(found["disk"]["ends"] for found in outcome.values()):
        assert sum(bool(found["disk"]["ends"]) for found in outcome.values()) > len(COMMANDS) / 2
    assert any(found["signal"]["ends"] for found in outcome.values())
