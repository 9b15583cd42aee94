"""The networks that are measured: the architecture of published models, and a small student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ekd.config import HIPNNConfig

if TYPE_CHECKING:
    from ekd.inference import ExportedModel
    from ekd.models import HIPNN

ELEMENTS = (1, 6, 7, 8)
"""As in the shipped data; water has two of them."""

DTYPE = "float32"

SMALL = "32 features, 1 interaction"
ONE = "128 features, 1 interaction"
TWO = "128 features, 2 interactions"


@dataclass(frozen=True)
class Case:
    """An architecture with its name in tables."""

    name: str
    config: HIPNNConfig


def cases() -> dict[str, Case]:
    """By name."""
    configs = {SMALL: small(), ONE: large(1), TWO: large(2)}
    return {name: Case(name, config) for name, config in configs.items()}


def small() -> HIPNNConfig:
    """A student for small molecules that is faster than the default."""
    return HIPNNConfig(l_max=1, n_atom_layers=1, n_features=32, n_sensitivities=16)


def large(n_interactions: int) -> HIPNNConfig:
    """128 features and 20 sensitivities, as published models of this kind have them."""
    return HIPNNConfig(
        l_max=1,
        n_interactions=n_interactions,
        n_atom_layers=3,
        n_features=128,
        n_sensitivities=20,
        cutoff=6.5,
        soft_max=5.5,
    )


def random_model(
    config: HIPNNConfig, path: Path, elements: Sequence[int] = ELEMENTS, dtype: str = DTYPE
) -> tuple[ExportedModel, HIPNN]:
    """Export a network with random weights: time does not depend on them.

    Returns:
        The exported model, and the network with the weights of the file.
    """
    import torch

    from ekd.export import export_model
    from ekd.inference import ExportedModel
    from ekd.models import HIPNN

    torch.manual_seed(0)
    network = HIPNN(config, elements, [0.0] * len(elements))
    export_model(network, path, config=config, dtype=dtype)
    return ExportedModel(path), network.to(getattr(torch, dtype))
