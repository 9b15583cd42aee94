"""Settings that a result depends on, by dotted key: what decides whether it is still valid."""

from __future__ import annotations

from collections.abc import Set
from functools import cache
from pathlib import Path
from typing import Any

from ekd.config import Config, DataConfig
from ekd.elements import symbol
from ekd.pipeline import pretraining, teachers
from ekd.pipeline.workspace import Workspace


def identified_sections(work: Workspace, names: Set[str]) -> dict[str, Any]:
    """Sections of the configuration with what counts in a result.

    Where a file lies and how many processes work on it does not change a result; what is in the
    file does.

    Args:
        work: the run.
        names: of the sections, with ``data`` among them.
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
    identities = pretraining.identify(config, work.base_data)
    values |= {name: found for name, found in identities.items() if name in values}
    if "labels" in values:
        values["labels"] |= teachers.identify(config.labels)
    test_sets = work.test_sets() if "test" in values else {}
    for name, data in test_sets.items():
        values[name].update(path=None, fingerprint=data.fingerprint)
        for key in ("keys", "where", "states"):
            values[name].pop(key)
    return values


@cache
def default_settings() -> dict[str, Any]:
    """Settings that a record may be too old to know."""
    data = DataConfig(path=Path())
    return flatten(Config(data=data).model_dump(mode="json"))


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
