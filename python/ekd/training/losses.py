"""The loss of HIP-NN: root mean square plus mean absolute error, and hierarchicality."""

from __future__ import annotations

import itertools

import torch

_TINY = 1e-12  # under the root: no infinite slope where every error is zero


def rmse_plus_mae(
    error: torch.Tensor, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the root mean square and the mean absolute value of all elements, with its slope.

    Lubbers, Smith and Barros, J. Chem. Phys. 148, 241715 (2018). Energies enter as the
    error of a configuration in eV, forces as the error of a component in eV/Å.

    Args:
        error: of any shape, without a gradient.
        weights: of the elements in both means, of a shape that broadcasts; None: all one. Where
            all are zero, so is the result.

    Returns:
        The loss, and its derivative by ``error``: written out, it costs half of what autograd
        takes for it, and training steps are short.
    """
    if weights is None:
        root = (error.square().mean() + _TINY).sqrt()
        slope = (error / root + error.sign()) / error.numel()
        return root + error.abs().mean(), slope
    weights = weights.expand_as(error)
    share = weights / (weights.sum() + _TINY)
    root = ((share * error.square()).sum() + _TINY).sqrt()
    slope = share * (error / root + error.sign())
    return root + (share * error.abs()).sum(), slope


def hierarchicality(levels: list[torch.Tensor], n_configs: int) -> torch.Tensor:
    """How much of the energy comes from late levels: ``sum_n E_n^2 / (E_n^2 + E_(n-1)^2)``.

    Small where every level is a small correction to the one before it. As in hippynn, the terms
    of the atoms are summed over a configuration and averaged over configurations.

    Args:
        levels: atomic energies by level, [n_atoms] eV each, the reference energies first.
        n_configs: number of configurations.

    Returns:
        A scalar.
    """
    squares = [level.square() for level in levels]
    terms = [later / (later + earlier + _TINY) for earlier, later in itertools.pairwise(squares)]
    return torch.stack(terms).sum() / n_configs
