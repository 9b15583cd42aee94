"""The loss of HIP-NN: root mean square plus mean absolute error, and hierarchicality.

A batch may be distributed over several processes. Root mean squares and means are not additive, so
each term is expressed by sums over its elements, which the processes add up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch

_TINY = 1e-12  # under the root: keeps the slope finite if all errors are zero

Reduce = Callable[[torch.Tensor], torch.Tensor]
"""Sums a tensor over all processes."""


class ErrorTerm(NamedTuple):
    """A term of the loss over all processes, and this process's contribution to its gradient.

    Attributes:
        value: value of the term, scalar.
        slope: derivative of the value with respect to each error of this process.
        sums: sums of the weights, weighted squares and weighted absolute values, float64 [3].
    """

    value: torch.Tensor
    slope: torch.Tensor
    sums: torch.Tensor


def rmse_plus_mae(
    error: torch.Tensor, weights: torch.Tensor | None = None, reduce: Reduce | None = None
) -> ErrorTerm:
    """Compute the sum of root mean square and mean absolute value of all elements, and its slope.

    Lubbers, Smith and Barros, J. Chem. Phys. 148, 241715 (2018). Energies enter as the error of a
    configuration in eV, forces as the error of a component in eV/Å. The slope is explicit, which
    takes half the time of autograd.

    Args:
        error: errors of this process, any shape, without a gradient.
        weights: weights of the elements in both means, broadcastable; None: all one. If all are
            zero, so is the result.
        reduce: sums over processes; None: there is only one.
    """
    if weights is None:
        total = torch.tensor(float(error.numel()), dtype=torch.float64, device=error.device)
        squares, absolutes = error.square().sum(), error.abs().sum()
    else:
        weights = weights.expand_as(error)
        total = weights.sum() + _TINY
        squares, absolutes = (weights * error.square()).sum(), (weights * error.abs()).sum()
    sums = torch.stack([total.double(), squares.double(), absolutes.double()])
    if reduce is not None:
        sums = reduce(sums)
    mean_square, mean_absolute = sums[1] / sums[0], sums[2] / sums[0]
    root = (mean_square + _TINY).sqrt()
    slope = (error / root + error.sign()) / sums[0]
    if weights is not None:
        slope = weights * slope
    return ErrorTerm(root + mean_absolute, slope.to(error.dtype), sums)


def hierarchicality(levels: list[torch.Tensor], n_configs: int) -> torch.Tensor:
    """Compute the hierarchicality, ``sum_n E_n^2 / (E_n^2 + E_(n-1)^2)``.

    It is small if each level is a small correction to the previous one. As in hippynn, atomic terms
    are summed over a configuration and averaged over configurations.

    Args:
        levels: atomic energies of each level, [n_atoms] eV, starting with the reference energies.
        n_configs: number of configurations in all processes.

    Returns:
        The contribution of this process, scalar.
    """
    squares = [level.square() for level in levels]
    terms = [later / (later + earlier + _TINY) for earlier, later in itertools.pairwise(squares)]
    return torch.stack(terms).sum() / n_configs
