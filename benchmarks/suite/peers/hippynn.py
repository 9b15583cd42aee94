"""hippynn, the reference implementation of the model, with the weights of ekd and its own kernels.

It picks kernels by what is installed, not by speed: those of numba are the fastest for small
networks, compiled torch for large ones. Here every kind for the CPU is tried and the fastest kept.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ekd.config import HIPNNConfig
from ekd.inference import ExportedModel
from ekd.models import HIPNN
from ekd.neighbor_list import NeighborList

# The mapping of weights to hippynn, which the tests prove equal.
_TESTS = str(Path(__file__).parents[3] / "tests")

KERNELS = ("numba", "pytorch")
"""To choose from. Its third kind for the CPU, "sparse", refuses two images of one neighbour, and
is several times slower."""

Forces = Callable[[], NDArray[np.float64]]


def network_of(model: ExportedModel) -> tuple[HIPNN, HIPNNConfig]:
    """The network that an exported model was made from.

    Raises:
        ValueError: hippynn has no such model.
    """
    metadata = model.metadata
    config = HIPNNConfig(**metadata.model["config"])
    if config.zbl:
        raise ValueError("hippynn has no ZBL repulsion as this model has")
    network = HIPNN(config, metadata.atomic_numbers, list(metadata.energy_reference.values()))
    network.to(getattr(torch, metadata.dtype))
    (member,) = torch.jit.load(model.path).members.children()
    network.load_state_dict(member.state_dict())
    return network, config


def evaluation(network: HIPNN, config: HIPNNConfig, atoms: Atoms, pairs: NeighborList) -> Forces:
    """A function that returns the forces (eV/Å), the neighbour list given.

    Raises:
        ImportError: hippynn is not installed.
    """
    if _TESTS not in sys.path:
        sys.path.append(_TESTS)
    from hippynn_twin import hippynn_twin

    dtype = network.blocks[0].energy.weight.dtype
    theirs, energy = (part.to(dtype) for part in hippynn_twin(network.double(), config))
    network.to(dtype)
    for parameter in [*theirs.parameters(), *energy.parameters()]:
        parameter.requires_grad_(False)

    indices = torch.from_numpy(pairs.pairs)
    shifts = torch.from_numpy(pairs.cell_shifts @ atoms.cell.array)
    elements = torch.tensor(network.elements)
    numbers = torch.from_numpy(atoms.numbers)
    features = (numbers.unsqueeze(1) == elements).to(dtype)
    system = torch.zeros(len(atoms), dtype=torch.int64)
    # As in MD, positions are double: single ones would round by more than the network does.
    start = torch.from_numpy(atoms.positions)

    def forces() -> NDArray[np.float64]:
        positions = start.clone().requires_grad_(True)
        vectors = (positions[indices[1]] - positions[indices[0]] + shifts).to(dtype)
        geometry = [vectors.norm(dim=1)] + ([vectors] if config.l_max else [])
        total = energy(theirs(features, *indices, *geometry), system, 1)[0].sum()
        return -torch.autograd.grad(total, positions)[0].numpy()

    return forces


def use_fastest_kernels(call: Callable[[], object], kernels: Sequence[str] = KERNELS) -> str:
    """Let hippynn work with the kernels that are fastest for this call; returns their name.

    Raises:
        RuntimeError: none works; the message says why.
    """
    from suite.timing import shortest

    times, reasons = {}, []
    for name in kernels:
        try:
            use(name)
            call()  # compiles
            times[name] = shortest({name: call}, 0.0)[name]
        except Exception as error:  # of many kinds: not installed, no compiler, no memory
            reasons.append(f"{name}: {str(error).splitlines()[0] if str(error) else error!r}")
    if not times:
        raise RuntimeError("no kernels work: " + "; ".join(reasons))
    best = min(times, key=lambda name: times[name])
    use(best)
    return best


def use(name: str) -> None:
    """Let hippynn work with one kind of kernels, to be compiled anew for the next input."""
    import hippynn

    # Code that is compiled for the sizes of one input is faster than code for any.
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hippynn.custom_kernels.set_custom_kernels(name)
