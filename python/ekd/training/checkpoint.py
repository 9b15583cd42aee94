"""Checkpoints: one file, either complete or absent, that says what it belongs to.

A checkpoint is a dictionary of plain types and tensors, so that reading one executes no code:
``format`` (integer), ``model_config``, ``training_config``, ``provenance``, ``elements``,
``history`` (one record per finished epoch), ``model`` (state of the averaged weights) and
``state`` (what the next epoch needs; None when the training is finished).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import torch

from ekd.errors import CheckpointError
from ekd.files import atomic_write

FORMAT = 1

_SETTINGS = ("model_config", "training_config", "provenance")
# Where the data lie may change between two sessions; what they are may not.
_MAY_DIFFER = {"provenance.data.path", "provenance.data.sha256"}


def save(path: str | os.PathLike[str], contents: dict[str, Any]) -> None:
    """Write a checkpoint; the old file stays in place until the new one is complete."""
    with atomic_write(path) as temporary:
        torch.save({"format": FORMAT, **contents}, temporary)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is missing, is no checkpoint, or has a format that this version
            does not read.
    """
    try:
        contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint '{path}' not found; check the path, or train first"
        ) from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(
            f"'{path}' is not a checkpoint or is damaged ({type(error).__name__}); delete it and "
            "train again"
        ) from None
    found = contents.get("format") if isinstance(contents, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"'{path}' has checkpoint format {found}, expected {FORMAT}; use the version of ekd "
            "that wrote it, or train again"
        )
    return contents


def check_same(stored: dict[str, Any], current: dict[str, Any], path: object) -> None:
    """Compare the settings and the data of a checkpoint with those of the run at hand.

    Raises:
        CheckpointError: they differ; the message lists every difference.
    """
    old, new = ({name: part[name] for name in _SETTINGS} for part in (stored, current))
    before, now = dict(_leaves(old)), dict(_leaves(new))
    differences = [
        f"{name}: {before.get(name)!r} in the checkpoint, {now.get(name)!r} now"
        for name in sorted((before.keys() | now.keys()) - _MAY_DIFFER)
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"'{path}' belongs to another run:\n  "
            + "\n  ".join(differences)
            + "\nrestore these settings, choose another directory, or train with resume=False"
        )


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
