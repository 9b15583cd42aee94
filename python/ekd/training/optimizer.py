"""Optimizer steps on one flat vector, and the moving average of the weights.

A network here has about thirty small parameters. If all are views of one vector, clipping, steps
and averaging take only a few operations, and checkpoints store only a few vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch.optim.adam import adam

from ekd.training.soap import Soap

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # for Adam, as in the paper
_TINY = 1e-6  # added to the norm of a gradient, which may vanish


def flatten(module: torch.nn.Module) -> torch.Tensor:
    """Move all parameters of a module into one vector, and make them views of it."""
    parameters = list(module.parameters())
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.data = flat[start:stop].view_as(parameter)
        start = stop
    return flat


class Adam:
    """Adam: Kingma and Ba, arXiv:1412.6980.

    Args:
        weights: weights, a vector that is changed in place.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        zeros = torch.zeros_like(weights)
        # With the names of the state of torch.optim.Adam.
        self._state = {
            "step": torch.zeros((), dtype=torch.float32, device=weights.device),
            "exp_avg": zeros,
            "exp_avg_sq": zeros.clone(),
        }

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step along a gradient, a vector like the weights."""
        # Use the function, because the overhead of the class is as long as the step itself.
        adam(
            [self.weights],
            [gradient],
            [self._state["exp_avg"]],
            [self._state["exp_avg_sq"]],
            [],
            [self._state["step"]],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors that a step changes, except the weights; they may be overwritten in place."""
        return [self._state["exp_avg"], self._state["exp_avg_sq"]]

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, to continue bitwise identically."""
        return {name: tensor.clone() for name, tensor in self._state.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        for name, tensor in self._state.items():
            tensor.copy_(state[name])


class Optimizer:
    """SOAP or Adam, with gradient clipping and a moving average of the weights.

    Args:
        weights: weights, a vector that is changed in place.
        average: averaged weights, a vector that is changed in place.
        decay: decay of the average per step. In the first steps, the average is the plain mean.
        clip: maximum norm of a gradient.
        rule: update rule.
        shapes: shapes of the parameters in ``weights``, in order; required for SOAP.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        average: torch.Tensor,
        decay: float,
        clip: float,
        rule: Literal["soap", "adam"] = "adam",
        shapes: Sequence[torch.Size] = (),
    ) -> None:
        self.step_count = 0
        self.weights = weights
        self.average = average
        self.decay = decay
        self.clip = clip
        self._rule = Soap(weights, shapes) if rule == "soap" else Adam(weights)

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step along a gradient, a vector like the weights."""
        self.step_count += 1
        norm = torch.linalg.vector_norm(gradient)
        self._rule.step(gradient * (self.clip / (norm + _TINY)).clamp(max=1), learning_rate)
        self.average.lerp_(self.weights, max(1 - self.decay, 1 / self.step_count))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors that a step changes; they may be overwritten in place."""
        return [self.weights, self.average, *self._rule.tensors]

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, to continue bitwise identically."""
        return {
            "step_count": self.step_count,
            "weights": self.weights.clone(),
            "average": self.average.clone(),
            "rule": self._rule.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.step_count = state["step_count"]
        self.weights.copy_(state["weights"])
        self.average.copy_(state["average"])
        self._rule.restore(state["rule"])
