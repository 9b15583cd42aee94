"""Progress output while chunks are processed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ekd.distillation import count_progress
from ekd.distillation.count_progress import Counter


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(count_progress.time, "monotonic", lambda: float(next(clock)))
    text = io.StringIO()
    with Counter("labels", 1000, there=500, console=Console(file=text, width=200)) as counter:
        for _ in range(100):
            counter.add(5)
    lines = text.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("labels: 600/1000, 5/s, 80 s left")
    assert lines[-1].startswith("labels: 1000/1000")


def test_bar_on_a_terminal() -> None:
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    with Counter("labels", 10, console=console) as counter:
        counter.add(4)
    assert "4/10" in text.getvalue()
    assert "left" not in text.getvalue()


def test_silence() -> None:
    text = io.StringIO()
    with Counter("labels", 10, enabled=False, console=Console(file=text)) as counter:
        counter.add(10)
    assert not text.getvalue()
