"""Logs for TensorBoard, an optional package; one event file per training and session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ekd.errors import ConfigError

FOLDER = "tensorboard"

_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    **{
        f"{prefix}{what}_{kind}": f"{what}_{kind}/{part}"
        for what in ("energy", "force")
        for kind in ("rmse", "mae")
        for prefix, part in (("", "training"), ("validation_", "validation"))
    },
    "learning_rate": "learning_rate",
    "configs_per_second": "configs_per_second",
}
"""Names of plots by names in the history; training and validation are in the same plot."""


def require_tensorboard() -> Any:
    """Return the class that writes event files.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            f"tensorboard = true, but the package does not load ({error}); install it with "
            "'pip install tensorboard', or remove this setting (history.csv has the same numbers)",
            code="EKD-CONFIG-041",
        ) from None
    return SummaryWriter


class TensorBoardLog:
    """Event files of a training, in the folder ``tensorboard`` next to its checkpoint.

    Args:
        directory: folder of the checkpoint.
        n_done: number of finished epochs; later epochs logged by a previous session are hidden.
    """

    def __init__(self, directory: Path, n_done: int) -> None:
        writer = require_tensorboard()
        self._writer = writer(log_dir=str(directory / FOLDER), purge_step=n_done + 1)

    def add(self, record: Mapping[str, Any]) -> None:
        """Log an epoch."""
        for name, tag in _TAGS.items():
            if record[name] is not None:
                self._writer.add_scalar(tag, record[name], record["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
