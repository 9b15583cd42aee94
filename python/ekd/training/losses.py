"""The loss of HIP-NN: root mean square plus mean absolute error, and hierarchicality.

A batch may be spread over several processes. Neither a root mean square nor a mean is a sum over
them, so each term is written in sums over its elements; those are what processes add up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch

_TINY = 1e-12  # under the root: no infinite slope where every error is zero

Reduce = Callable[[torch.Tensor], torch.Tensor]
"""Adds a tensor up over all processes."""


class ErrorTerm(NamedTuple):
    """A term of the loss, over all processes, and what this process contributes to its gradient.

    Attributes:
        value: scalar.
        slope: its derivative by each error of this process, of their shape.
        sums: float64 [3]: of the weights, and of the weighted squares and absolute values.
    """

    value: torch.Tensor
    slope: torch.Tensor
    sums: torch.Tensor


def rmse_plus_mae(
    error: torch.Tensor, weights: torch.Tensor | None = None, reduce: Reduce | None = None
) -> ErrorTerm:
    """Sum of the root mean square and the mean absolute value of all elements, with its slope.

    Lubbers, Smith and Barros, J. Chem. Phys. 148, 241715 (2018). Energies enter as the
    error of a configuration in eV, forces as the error of a component in eV/Å. The slope is written
    out: that costs half of what autograd takes for it, and training steps are short.

    Args:
        error: of this process; any shape, without a gradient.
        weights: of the elements in both means, of a shape that broadcasts; None: all one. Where
            all are zero, so is the result.
        reduce: adds up over processes; None: there is one.
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
    """How much of the energy comes from late levels: ``sum_n E_n^2 / (E_n^2 + E_(n-1)^2)``.

    Small where every level is a small correction to the one before it. As in hippynn, the terms
    of the atoms are summed over a configuration and averaged over configurations.

    Args:
        levels: atomic energies by level, [n_atoms] eV each, the reference energies first.
        n_configs: number of configurations, over all processes.

    Returns:
        A scalar: the part of this process.
    """
    squares = [level.square() for level in levels]
    terms = [later / (later + earlier + _TINY) for earlier, later in itertools.pairwise(squares)]
    return torch.stack(terms).sum() / n_configs
