"""Checkpoints: one file per training, written atomically, with its settings and provenance.

A checkpoint is a dictionary of plain types and tensors, so that reading one executes no code
(:mod:`.torch_archive`):
``format`` (integer), ``model_config``, ``training_config``, ``uncertainty_config`` (None: no head),
``provenance``, ``elements``, ``history`` (one record per finished epoch), ``uncertainty`` (results
of the training of the head, or None), ``model`` (state dict with the averaged weights) and
``state`` (data needed by the next step; None when the training is finished): ``step_count, weights,
average, rule`` of the optimizer, ``best`` (state dict with the best averaged weights, if these are
to be kept) and ``epoch`` (progress within the current epoch; None at its start).

Any change of this increases the format by one and adds a function to ``_MIGRATIONS`` that converts
the contents of the previous format to the new one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ekd.config import HIPNNConfig, Section, TrainingConfig, UncertaintyConfig
from ekd.errors import CheckpointError, ConfigError
from ekd.files import atomic_write
from ekd.inference.metadata import is_exported
from ekd.training import torch_archive

FORMAT = 5

_SETTINGS = ("model_config", "training_config", "uncertainty_config", "provenance")
# The path of the data may change between two sessions, but not their contents. Results of on-policy
# rounds are added at their end, and the distances follow from the data.
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
    """Write a checkpoint; the old file is kept until the new one is complete."""
    buffer = io.BytesIO()  # if torch writes a file itself, its errors do not give the reason
    torch.save({"format": FORMAT, **contents}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of this or an older format, and convert it to this format.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint, is damaged, or has a newer
            format.
    """
    try:
        contents: dict[str, Any] = torch_archive.load(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint '{path}' not found; check the path, or train first",
            code="EKD-CHECKPOINT-005",
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"checkpoint '{path}' cannot be read: {error.strerror or error}; name a file, and "
            "check its permissions",
            code="EKD-CHECKPOINT-005",
        ) from None
    except torch_archive.DamagedError as error:
        if is_exported(path):
            raise CheckpointError(
                f"'{path}' is an exported model, not a checkpoint; name the output folder of the "
                "run that wrote it, or open it with ekd.ExportedModel",
                code="EKD-CHECKPOINT-002",
            ) from None
        raise CheckpointError(
            f"'{path}' is not a checkpoint or is damaged ({error}); delete it and train again",
            code="EKD-CHECKPOINT-006",
        ) from None
    found = contents.get("format") if isinstance(contents, dict) else None
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise CheckpointError(
            f"'{path}' has checkpoint format {found}, expected 1 to {FORMAT}; use the version of "
            "ekd that wrote it, or train again",
            code="EKD-CHECKPOINT-003",
        )
    try:
        for version in range(found, FORMAT):
            contents = _MIGRATIONS[version](contents)
        _check(contents)
    except (KeyError, TypeError, AttributeError, ValueError, ConfigError, OverflowError) as error:
        raise CheckpointError(
            f"'{path}' is damaged: its contents are not those of a checkpoint of format {found} "
            f"({_words(error)}); delete it and train again",
            code="EKD-CHECKPOINT-006",
        ) from None
    return contents


_TYPES: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "model_config": (dict,),
    "training_config": (dict, type(None)),
    "uncertainty_config": (dict, type(None)),
    "uncertainty": (dict, type(None)),
    "provenance": (dict,),
    "elements": (list,),
    "history": (list,),
    "model": (dict,),
    "state": (dict, type(None)),
}
_SECTIONS: dict[str, type[Section]] = {
    "model_config": HIPNNConfig,
    "training_config": TrainingConfig,
    "uncertainty_config": UncertaintyConfig,
}


def _check(contents: dict[str, Any]) -> None:
    """Check the contents of a checkpoint; raise any exception that explains the problem."""
    if contents.keys() != _TYPES.keys():
        names = ", ".join(sorted(map(str, contents.keys() ^ _TYPES.keys())))
        raise ValueError(f"too many or too few: {names}")
    for name, kinds in _TYPES.items():
        if not isinstance(contents[name], kinds):
            raise TypeError(f"'{name}' is a {type(contents[name]).__name__}")
    for name, section in _SECTIONS.items():
        if contents[name] is not None:
            section(**contents[name])
    elements = contents["elements"]
    if not all(type(z) is int and 1 <= z <= 118 for z in elements):
        raise ValueError("'elements' are not atomic numbers")
    if not elements or len(set(elements)) != len(elements):
        raise ValueError("'elements' are none, or one of them is there twice")
    if not all(isinstance(record, dict) for record in contents["history"]):
        raise TypeError("'history' holds something else than records")
    _check_weights(contents["model"], HIPNNConfig(**contents["model_config"]), len(elements))
    if contents["state"] is not None:
        if contents["training_config"] is None:
            raise ValueError("a training on its way has no settings")
        _check_state(contents["state"])


def _check_weights(weights: dict[str, Any], config: HIPNNConfig, n_elements: int) -> None:
    """Check that the weights are numbers with the shapes given by the settings."""
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError("'model' holds something else than tensors by name")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"the weight '{name}' is of type {tensor.dtype}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"the weight '{name}' holds a number that is not finite")

    def require(name: str, *shape: int) -> None:
        found = tuple(weights[name].shape)
        if found != shape:
            raise ValueError(f"the weight '{name}' has the shape {found}, expected {shape}")

    width = config.n_features
    require("reference_energies", n_elements)
    for k in range(config.n_interactions):
        width_in = n_elements if k == 0 else width
        block = f"blocks.{k}."
        require(f"{block}interaction.sensitivities.mu", config.n_sensitivities)
        require(f"{block}interaction.neighbors.weight", width, config.n_sensitivities * width_in)
        require(f"{block}interaction.center.weight", width, width_in)
        require(f"{block}outer.weight", width, width)
        require(f"{block}energy.weight", 1, width)
        for layer in range(config.n_atom_layers):
            for place in ("inner", "outer"):
                require(f"{block}atom_layers.{layer}.{place}.weight", width, width)


def _check_state(state: dict[str, Any]) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "step_count": (int,),
        "weights": (torch.Tensor,),
        "average": (torch.Tensor,),
        "rule": (dict,),
        "best": (dict, type(None)),
        "epoch": (dict, type(None)),
    }
    for name, allowed in kinds.items():
        if not isinstance(state[name], allowed):
            raise TypeError(f"'{name}' of 'state' is a {type(state[name]).__name__}")


def _words(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _from_1(contents: dict[str, Any]) -> dict[str, Any]:
    """Add settings that were fixed, the validation loss, and checkpoints within an epoch."""
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
    """Add the uncertainty head, which did not exist."""
    return contents | {"format": 3, "uncertainty_config": None, "uncertainty": None}


def _from_3(contents: dict[str, Any]) -> dict[str, Any]:
    """Add the optimizer, which was always Adam."""
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
    """Add the target of the uncertainty head, which was always the spread of the teachers."""
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
    """Compare the settings and data of a checkpoint with those of the current run.

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
            + "\nrestore these settings, choose another directory, or train with resume=False",
            code="EKD-CHECKPOINT-004",
        )


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
