"""The record of an output folder: complete stages, settings and times."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ekd.errors import EKDError
from ekd.pipeline.record import Record


def test_a_stage_that_broke_off_is_not_complete_but_its_time_counts(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    record = Record.load(path)

    def interrupted() -> None:
        with record.timed("train", {"epochs": 3}):
            time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    record = Record.load(path)
    assert not record.is_complete("train")
    with record.timed("train", {"epochs": 3}):
        time.sleep(0.02)
    record = Record.load(path)
    assert record.is_complete("train")
    assert record.entries["train"].wall_seconds > 0.04


def test_other_settings_are_named_and_start_the_clock_anew(tmp_path: Path) -> None:
    record = Record.load(tmp_path / "stages.json")
    with record.timed("train", {"epochs": 3, "seed": 0}):
        time.sleep(0.05)
    assert record.differences("train", {"epochs": 3, "seed": 0}) == []
    assert record.differences("train", {"epochs": 5, "seed": 0}) == ["epochs = 3 there, 5 now"]
    with record.timed("train", {"epochs": 5, "seed": 0}):
        pass
    assert record.entries["train"].wall_seconds < 0.05


def test_damaged_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    path.write_text('{"train": {"settings": ')
    with pytest.raises(EKDError, match=r"stages.json' is damaged .*remove it"):
        Record.load(path)
