"""The networks of the kit, with random weights: neither time nor rounding depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOLECULES = (1, 6, 7, 8)
SILVER = (47,)


@dataclass(frozen=True)
class Entry:
    """A model: what it is for, its architecture and what else the file holds."""

    purpose: str  # "rate" or "check"
    elements: tuple[int, ...]
    config: dict[str, Any]
    n_members: int = 1
    n_hidden: int | None = None  # of the head for the uncertainty
    with_hippynn: bool = False


_SMALL: dict[str, Any] = {
    "n_features": 20,
    "n_sensitivities": 10,
    "cutoff": 4.0,
    "soft_max": 3.5,
    "n_atom_layers": 2,
}

ENTRIES: dict[str, Entry] = {
    # The student that `ekd distill` makes where nothing is said of it: see ekd.config.
    "student": Entry("rate", MOLECULES, {}, with_hippynn=True),
    "wide": Entry(
        "rate",
        MOLECULES,
        {
            "n_features": 128,
            "n_sensitivities": 20,
            "n_interactions": 2,
            "n_atom_layers": 3,
            "l_max": 1,
            "cutoff": 6.5,
            "soft_max": 5.5,
        },
        with_hippynn=True,
    ),
    # The case of LANL: small, for a metal.
    "silver": Entry(
        "rate",
        SILVER,
        {
            "n_features": 8,
            "n_sensitivities": 16,
            "l_max": 2,
            "cutoff": 4.0,
            "soft_max": 3.6,
            "n_interactions": 1,
        },
        with_hippynn=True,
    ),
    "one-l0": Entry("check", MOLECULES, {**_SMALL, "l_max": 0}),
    "one-l2": Entry("check", MOLECULES, {**_SMALL, "l_max": 2}),
    "two-l1": Entry("check", MOLECULES, {**_SMALL, "l_max": 1, "n_interactions": 2}),
    "three-l2": Entry("check", MOLECULES, {**_SMALL, "l_max": 2, "n_interactions": 3}),
    "odd-widths": Entry(
        "check",
        MOLECULES,
        {**_SMALL, "l_max": 2, "n_interactions": 2, "n_features": 33, "n_sensitivities": 19},
    ),
    "slices": Entry(
        "check",
        MOLECULES,
        {**_SMALL, "l_max": 1, "n_interactions": 2, "n_features": 150, "n_sensitivities": 5},
    ),
    "zbl": Entry("check", MOLECULES, {**_SMALL, "l_max": 2, "zbl": True}),
    "uncertainty": Entry(
        "check", MOLECULES, {**_SMALL, "l_max": 1, "n_interactions": 2}, n_hidden=9
    ),
    "uncertainty-one": Entry("check", MOLECULES, {**_SMALL, "l_max": 2}, n_hidden=16),
    "committee": Entry(
        "check",
        MOLECULES,
        {**_SMALL, "l_max": 2, "n_interactions": 2, "zbl": True},
        n_members=3,
        n_hidden=6,
    ),
}


def path_of(kit: Path, name: str) -> Path:
    """Where the exported file lies."""
    return kit / "models" / f"{name}.pt"


def names(purpose: str) -> list[str]:
    """Of the models for a purpose."""
    return [name for name, entry in ENTRIES.items() if entry.purpose == purpose]
