"""Progress output of a training, with and without a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from ekd.training.progress import TrainingProgress


def record(epoch: int, force: float | None = None) -> dict[str, float | int | None]:
    return {
        "epoch": epoch,
        "loss": 1 / epoch,
        "validation_energy_rmse": 0.04,
        "validation_force_rmse": force,
        "seconds": 0.5,
        "configs_per_second": 1234.0,
    }


def show(n_epochs: int, terminal: bool = False, enabled: bool = True) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, highlight=False)
    with TrainingProgress(enabled=enabled, console=console) as bars:
        bars.add("teacher 0", n_epochs)
        bars.start("teacher 0")
        for epoch in range(1, n_epochs + 1):
            bars.update("teacher 0", record(epoch, force=0.3))
        bars.finish("teacher 0")
    return output.getvalue()


def test_few_plain_lines_without_a_terminal() -> None:
    lines = show(50).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("teacher 0: epoch 10/50, loss 0.100, validation 40.0 meV, 300 meV/Å")
    assert "1234 configs/s" in lines[0]
    assert lines[-1].endswith("0 s left")
    assert "\x1b" not in "".join(lines)


def test_short_training_shows_every_epoch() -> None:
    assert len(show(3).splitlines()) == 3


def test_bars_on_a_terminal() -> None:
    shown = show(4, terminal=True)
    assert "teacher 0" in shown
    assert "4/4" in shown
    assert "loss 0.250" in shown


def test_nothing_when_disabled() -> None:
    assert show(10, enabled=False) == ""
    assert show(10, enabled=False, terminal=True).strip("\n") == ""


def test_batches_of_an_epoch_at_hand() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, highlight=False)
    with TrainingProgress(console=console) as bars:
        bars.add("teacher 0", 4)
        bars.start("teacher 0")
        bars.update("teacher 0", record(1))
        at_hand = {"epoch": 2, "batch": 30, "n_batches": 90, "configs_per_second": 567.0}
        bars.update("teacher 0", at_hand)
    assert "batch 30/90, 567 configs/s" in output.getvalue()
    assert "1/4" in output.getvalue()
