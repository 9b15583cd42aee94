"""Levenberg-Marquardt: least squares of the energies, with the slope of every single one.

A few hundred energies of a molecule speak of stiff and of soft motions at once. Methods that go
down one gradient after the other fit them by the weights that move easily; here every step solves
the linearised problem of all configurations together,

    min over d of  |r - J d|^2 + damping |d|^2,      J[c, k] = dE_c / dw_k,   r = E_reference - E,

whose solution ``d = J^T (J J^T + damping)^-1 r`` takes a system as large as the number of
configurations, not of weights. Levenberg, Q. Appl. Math. 2, 164 (1944); Marquardt, J. Soc. Indust.
Appl. Math. 11, 431 (1963). The damping follows how well the linear model foretold the gain, as in
Nocedal and Wright, Numerical Optimization (2006), chapters 4.1 and 10.3.

Reference energies enter linearly and are solved for exactly, so that compositions, which differ by
far more than conformers, take no part in the damping: variable projection, Golub and Pereyra, SIAM
J. Numer. Anal. 10, 413 (1973).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ekd.models import HIPNN

_FIRST = 1e-3  # damping of the first step, times the sum of the eigenvalues of J J^T
_GOOD, _POOR, _WORST = 0.75, 0.25, 1e-3  # gain over what was foretold
_FALL, _RISE = 0.2, 4.0
_LEAST = 1e-13  # damping over the sum of the eigenvalues, below which it is lost in rounding
_TRIES = 12  # dampings of a step before it is given up
_OF_SENSITIVITIES = 0.2  # how far they go for others' unit: everything else bends with them
_ROWS = 256  # of a block of J J^T
_NEGLIGIBLE = 1e-8  # singular value of the compositions, over the largest


class LevenbergMarquardt:
    """Steps on one flat vector; like :class:`ekd.training.optimizer.Optimizer` it can be resumed.

    Args:
        weights: vector that is changed in place, float64.
        average: is kept equal to the weights.
        scales: unit of each weight in the damping, of the shape of the weights.
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
        """Take one step that lowers the sum of squares, or none if there is no such step.

        Squares are of what reference energies cannot make up for.

        Args:
            jacobian: of the energies by the weights, [n_configs, n_weights] eV; it is used up.
            residuals: what is missing in the energies, [n_configs] eV.
            residuals_now: evaluates the same for the weights at the time of its call.
            compositions: atoms of each element, [n_configs, n_elements].
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
            if failed:  # rounding has made it singular
                self.damping *= _RISE
                continue
            dual = torch.cholesky_solve(residuals[:, None], factor)[:, 0]
            self.weights.copy_(start + self.scales * (jacobian.T @ dual))
            after = beyond(residuals_now())
            # The linear model leaves r - J d, which is damping times the dual solution.
            foretold = before - self.damping**2 * float(dual.square().sum())
            gain = (before - float(after.square().sum())) / max(foretold, 1e-300)
            if gain > _GOOD:
                self.damping *= _FALL
            elif not gain > _POOR:  # nor where it is not a number
                self.damping *= _RISE
            if gain > _WORST:
                self.average.copy_(self.weights)
                return
        self.weights.copy_(start)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to continue bitwise."""
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
    """``rows @ rows.T``, for many rows in little more than half the time: it is symmetric."""
    found = rows.new_empty(len(rows), len(rows))
    for begin in range(0, len(rows), _ROWS):
        end = min(begin + _ROWS, len(rows))
        found[begin:end, :end] = rows[begin:end] @ rows[:end].T
        found[:begin, begin:end] = found[begin:end, :begin].T
    return found


def step_scales(network: HIPNN) -> torch.Tensor:
    """The unit of each weight, [n_weights], in the order of the parameters."""
    units = [
        torch.full_like(part.detach(), _OF_SENSITIVITIES if "sensitivities" in name else 1.0)
        for name, part in network.named_parameters()
    ]
    return torch.cat([unit.reshape(-1) for unit in units])
