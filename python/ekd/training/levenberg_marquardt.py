"""Levenberg-Marquardt: nonlinear least squares of the energies, with the full Jacobian.

A few hundred energies of a molecule depend on both stiff and soft motions. First-order methods
mostly change the weights with large gradients. Here each step solves the linearized problem of all
configurations together,

    min over d of  |r - J d|^2 + damping |d|^2,      J[c, k] = dE_c / dw_k,   r = E_reference - E,

with the solution ``d = J^T (J J^T + damping)^-1 r``, whose linear system has the size of the number
of configurations, not of weights. Levenberg, Q. Appl. Math. 2, 164 (1944); Marquardt, J. Soc.
Indust. Appl. Math. 11, 431 (1963). The damping is adapted to the ratio of actual to predicted gain,
as in Nocedal and Wright, Numerical Optimization (2006), chapters 4.1 and 10.3.

Reference energies enter linearly and are solved for exactly, so the damping does not act on
differences between compositions, which are much larger than those between conformers: variable
projection, Golub and Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ekd.models import HIPNN

_FIRST = 1e-3  # damping of the first step, times the sum of the eigenvalues of J J^T
_GOOD, _POOR, _WORST = 0.75, 0.25, 1e-3  # ratio of actual to predicted gain
_FALL, _RISE = 0.2, 4.0
_LEAST = 1e-13  # damping relative to the sum of the eigenvalues, below which it is lost in rounding
_TRIES = 12  # dampings to try in a step before giving up
_OF_SENSITIVITIES = 0.2  # step scale relative to other weights: they affect everything else
_ROWS = 256  # rows per block of J J^T
_NEGLIGIBLE = 1e-8  # singular value of the compositions relative to the largest


class LevenbergMarquardt:
    """Optimizer of one flat vector; can be resumed like :class:`ekd.training.optimizer.Optimizer`.

    Args:
        weights: weights, float64 vector, changed in place.
        average: vector that is kept equal to the weights.
        scales: scale of each weight in the damping, with the shape of the weights.
    """

    def __init__(self, weights: torch.Tensor, average: torch.Tensor, scales: torch.Tensor) -> None:
        self.step_count = 0
        self.weights = weights
        self.average = average
        self.scales = scales
        self.damping: float | None = None

    def step(
        self,
        jacobian: torch.Tensor,
        residuals: torch.Tensor,
        residuals_now: Callable[[], torch.Tensor],
        compositions: torch.Tensor,
    ) -> None:
        """Take one step that lowers the sum of squares, or none if no such step is found.

        The sum is over residuals that cannot be removed by changes of the reference energies.

        Args:
            jacobian: derivatives of the energies with respect to the weights, [n_configs,
                n_weights] eV; it is overwritten.
            residuals: residuals of the energies, [n_configs] eV.
            residuals_now: computes the residuals for the current weights.
            compositions: number of atoms of each element, [n_configs, n_elements].
        """
        self.step_count += 1
        vectors, values, _ = torch.linalg.svd(compositions, full_matrices=False)
        basis = vectors[:, values > _NEGLIGIBLE * values[0]]

        def beyond(part: torch.Tensor) -> torch.Tensor:
            rest: torch.Tensor = part - basis @ (basis.T @ part)
            return rest

        jacobian.mul_(self.scales)
        jacobian -= basis @ (basis.T @ jacobian)
        residuals = beyond(residuals)
        gram = _products(jacobian)
        trace = float(gram.trace())
        self.damping = max(self.damping or _FIRST * trace, _LEAST * trace)
        start, before = self.weights.clone(), float(residuals.square().sum())
        for _ in range(_TRIES):
            damped = gram.clone()
            damped.diagonal().add_(self.damping)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if failed:  # singular due to rounding
                self.damping *= _RISE
                continue
            dual = torch.cholesky_solve(residuals[:, None], factor)[:, 0]
            self.weights.copy_(start + self.scales * (jacobian.T @ dual))
            after = beyond(residuals_now())
            # The residual of the linear model, r - J d, is damping times the dual solution.
            foretold = before - self.damping**2 * float(dual.square().sum())
            gain = (before - float(after.square().sum())) / max(foretold, 1e-300)
            if gain > _GOOD:
                self.damping *= _FALL
            elif not gain > _POOR:  # also if it is NaN
                self.damping *= _RISE
            if gain > _WORST:
                self.average.copy_(self.weights)
                return
        self.weights.copy_(start)

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, to continue bitwise identically."""
        return {
            "step_count": self.step_count,
            "weights": self.weights.clone(),
            "average": self.average.clone(),
            "rule": {"damping": self.damping},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.step_count = state["step_count"]
        self.weights.copy_(state["weights"])
        self.average.copy_(state["average"])
        self.damping = state["rule"]["damping"]


def _products(rows: torch.Tensor) -> torch.Tensor:
    """Compute ``rows @ rows.T`` using its symmetry, in little more than half the time."""
    found = rows.new_empty(len(rows), len(rows))
    for begin in range(0, len(rows), _ROWS):
        end = min(begin + _ROWS, len(rows))
        found[begin:end, :end] = rows[begin:end] @ rows[:end].T
        found[:begin, begin:end] = found[begin:end, :begin].T
    return found


def step_scales(network: HIPNN) -> torch.Tensor:
    """Return the step scale of each weight, [n_weights], in the order of the parameters."""
    units = [
        torch.full_like(part.detach(), _OF_SENSITIVITIES if "sensitivities" in name else 1.0)
        for name, part in network.named_parameters()
    ]
    return torch.cat([unit.reshape(-1) for unit in units])
