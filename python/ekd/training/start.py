"""Start of a training from a finished network instead of random weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.config import HIPNNConfig
from ekd.data import Dataset
from ekd.data.reference_energies import fit_energies
from ekd.elements import symbol
from ekd.errors import ConfigError, StructureError
from ekd.models import HIPNN
from ekd.training.batches import BatchSource
from ekd.training.predictions import evaluate_energies
from ekd.training.trained import TrainedModel

_BY_ELEMENT = (
    "blocks.0.interaction.neighbors.weight",
    "blocks.0.interaction.center.weight",
    "blocks.0.skip.weight",
)
"""Matrices whose columns belong to elements; for the first, to sensitivities and elements."""


def check_start(start: TrainedModel, model: HIPNNConfig, elements: list[int]) -> None:
    """Check that a network can start from another one.

    Args:
        start: network to start from.
        model: architecture of the new network.
        elements: atomic numbers of the new network.

    Raises:
        ConfigError: the architectures differ.
        StructureError: the other network lacks an element.
    """
    own, other = model.model_dump(), start.model_config.model_dump()
    differ = [
        f"{name} = {own[name]}, not {other[name]}" for name in own if own[name] != other[name]
    ]
    if differ:
        raise ConfigError(
            f"a network can only start from one of the same architecture, but it has "
            f"{'; '.join(differ)}; give both the same [model]",
            code="EKD-CONFIG-040",
        )
    missing = sorted(set(elements) - set(start.model.elements))
    if missing:
        raise StructureError(
            f"the network to start from supports {', '.join(map(symbol, start.model.elements))}, "
            f"but the data also contain {', '.join(map(symbol, missing))}; pretrain on geometries "
            "with all elements of the data",
            code="EKD-DATA-061",
        )


@torch.no_grad()
def load_start(network: HIPNN, start: TrainedModel) -> None:
    """Copy the weights of another network, except for the reference energies.

    Args:
        network: network that is changed in place. Its elements are a subset of those of ``start``.
        start: network that has passed :func:`check_start`. An uncertainty head is not copied.
    """
    own, other = network.state_dict(), start.model.state_dict()
    columns = [start.model.elements.index(z) for z in network.elements]
    for name, tensor in own.items():
        if name.startswith(("reference_energies", "uncertainty_head", "zbl")):
            continue
        found = other[name]
        if name in _BY_ELEMENT:
            found = found.reshape(len(found), -1, len(start.model.elements))[:, :, columns]
        tensor.copy_(found.reshape(tensor.shape))


def reference_energies_after(
    start: TrainedModel, data: Dataset, indices: NDArray[np.int64]
) -> dict[int, float]:
    """Fit reference energies with which a finished network best predicts the energies of new data.

    Two levels of theory can differ by thousands of eV, most of which is a sum over the atoms. This
    sum is fitted to the residuals of the network, in addition to the reference energies of the
    data, if any.

    Args:
        start: the network.
        data: structures and energies.
        indices: configurations to fit to.

    Returns:
        Reference energies (eV) by atomic number, in ascending order: of the elements in these
        configurations or, if the data have reference energies, of all elements of the data.

    Raises:
        StructureError: the network lacks an element.
    """
    check_start(start, start.model_config, list(data.elements))
    network = start.in_float64()
    source = BatchSource(data, network.elements, network.cutoff, torch.float64)
    composition = source.compositions(indices)
    given = data.reference_energies or {}
    # Replace the reference energies of the other level of theory by those of the data.
    offset = np.array([given.get(z, 0.0) for z in network.elements])
    offset -= network.reference_energies.numpy()
    left = source.energies(indices) - evaluate_energies(network, source, indices)
    fitted = fit_energies(network.elements, composition, left - composition @ offset)
    wanted = data.elements if given else fitted
    return {z: given.get(z, 0.0) + fitted.get(z, 0.0) for z in wanted}
