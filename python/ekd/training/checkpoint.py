"""Checkpoints: one file, either complete or absent, that says what it belongs to.

A checkpoint is a dictionary of plain types and tensors, so that reading one executes no code:
``format`` (integer), ``model_config``, ``training_config``, ``uncertainty_config`` (None: no head),
``provenance``, ``elements``, ``history`` (one record per finished epoch), ``uncertainty`` (what the
training of the head came to, or None), ``model`` (state of the averaged weights) and
``state`` (what the next step needs; None when the training is finished): ``step_count, weights,
average, rule`` of the optimizer, ``best`` (state of the best averaged weights, if those are to be
kept) and ``epoch`` (how far the epoch at hand has come; None at its start).

A change of any of this raises the format by one and adds a function to ``_MIGRATIONS`` that turns
the contents of the format before into those of the new one.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ekd.errors import CheckpointError
from ekd.files import atomic_write

FORMAT = 5

_SETTINGS = ("model_config", "training_config", "uncertainty_config", "provenance")
# Where the data lie may change between two sessions; what they are may not. What on-policy rounds
# came to is put down when they are over, and the distances follow from the data.
_MAY_DIFFER = {
    "provenance.closest_pairs",
    "provenance.data.path",
    "provenance.data.sha256",
    "provenance.on_policy",
    "provenance.reference_warnings",
    "training_config.device",
    "training_config.checkpoint_minutes",
}


def save(path: str | os.PathLike[str], contents: dict[str, Any]) -> None:
    """Write a checkpoint; the old file stays in place until the new one is complete."""
    with atomic_write(path) as temporary:
        torch.save({"format": FORMAT, **contents}, temporary)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of this or of an older format; what is returned has this format.

    Raises:
        CheckpointError: the file is missing, is no checkpoint, or has a newer format.
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
    if not isinstance(found, int) or not 1 <= found <= FORMAT:
        raise CheckpointError(
            f"'{path}' has checkpoint format {found}, expected 1 to {FORMAT}; use the version of "
            "ekd that wrote it, or train again"
        )
    for version in range(found, FORMAT):
        contents = _MIGRATIONS[version](contents)
    return contents


def _from_1(contents: dict[str, Any]) -> dict[str, Any]:
    """Settings that were fixed before; a validation loss; checkpoints within an epoch."""
    training = contents["training_config"]
    if training is not None:
        training = training | {
            "batch_atoms": None,
            "schedule": "one-cycle",
            "plateau_factor": 0.5,
            "plateau_patience": 10,
            "early_stopping": None,
            "keep": "last",
            "l2_weight": 0.0,
            "device": "cpu",
            "checkpoint_minutes": 10.0,
        }

    def with_loss(record: dict[str, Any]) -> dict[str, Any]:
        loss = 0.0
        for name in ("energy", "force"):
            errors = [record[f"validation_{name}_{kind}"] for kind in ("rmse", "mae")]
            if None not in errors:
                loss += training[f"{name}_weight"] * sum(errors)
        seconds = max(record["seconds"], 1e-9)
        speed = contents["provenance"]["n_training"] / seconds
        return record | {"validation_loss": loss, "configs_per_second": speed}

    state = contents["state"]
    return contents | {
        "format": 2,
        "training_config": training,
        "history": [with_loss(record) for record in contents["history"]],
        "state": None if state is None else state | {"best": None, "epoch": None},
    }


def _from_2(contents: dict[str, Any]) -> dict[str, Any]:
    """No head for the uncertainty of the forces."""
    return contents | {"format": 3, "uncertainty_config": None, "uncertainty": None}


def _from_3(contents: dict[str, Any]) -> dict[str, Any]:
    """Adam was the only optimizer."""
    training, state = contents["training_config"], contents["state"]
    if state is not None:
        state = {name: value for name, value in state.items() if name != "adam"} | {
            "rule": state["adam"]
        }
    return contents | {
        "format": 4,
        "training_config": None if training is None else training | {"optimizer": "adam"},
        "state": state,
    }


def _from_4(contents: dict[str, Any]) -> dict[str, Any]:
    """A head could tell the spread of the teachers alone."""
    head = contents["uncertainty_config"]
    return contents | {
        "format": 5,
        "uncertainty_config": None if head is None else head | {"target": "spread"},
    }


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
}


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
