"""Settings that a result depends on, by dotted key, which determine whether it is valid."""

from __future__ import annotations

from collections.abc import Set
from functools import cache
from pathlib import Path
from typing import Any

from ekd.config import Config, DataConfig
from ekd.elements import symbol
from ekd.pipeline import bases, teacher_identity
from ekd.pipeline.workspace import Workspace


def identified_sections(work: Workspace, names: Set[str]) -> dict[str, Any]:
    """Return sections of the configuration, reduced to what affects a result.

    A result depends on the contents of files, but not on their paths or on the number of processes.

    Args:
        work: the run.
        names: names of the sections, including ``data``.
    """
    config = work.config
    values = config.model_dump(mode="json", include=set(names))
    values["data"].update(path=None, fingerprint=work.data.fingerprint)
    for key in ("stream", "keys", "where", "states"):
        values["data"].pop(key)
    given = work.data.reference_energies or {}
    values["data"]["reference_energies"] = None
    values["data"] |= {f"reference_energies.{symbol(z)}": e for z, e in given.items()}
    for name in ("teachers", "labels", "student"):
        values.get(name, {}).pop("n_workers", None)
        for key in ("device", "checkpoint_minutes"):
            values.get(name, {}).get("training", {}).pop(key, None)
    identities = bases.identify(config, work.base_data)
    values |= {name: found for name, found in identities.items() if name in values}
    if "labels" in values:
        values["labels"] |= teacher_identity.identify(config.labels)
    test_sets = work.test_sets() if "test" in values else {}
    for name, data in test_sets.items():
        values[name].update(path=None, fingerprint=data.fingerprint)
        for key in ("keys", "where", "states"):
            values[name].pop(key)
    return values


@cache
def default_settings() -> dict[str, Any]:
    """Return defaults of settings that may not have existed when a record was written."""
    data = DataConfig(path=Path())
    return flatten(Config(data=data).model_dump(mode="json"))


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables, by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
