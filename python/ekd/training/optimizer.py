"""Adam on one flat vector, and the running average of the weights.

A network here has some thirty small parameters. With one vector that they are all views of,
clipping, Adam and averaging are a few operations per step, and the state of a training is a few
vectors that a checkpoint stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def flatten(module: torch.nn.Module) -> torch.Tensor:
    """Move all parameters of a module into one vector, of which they become views."""
    parameters = list(module.parameters())
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.data = flat[start:stop].view_as(parameter)
        start = stop
    return flat


class Optimizer:
    """Adam (Kingma and Ba, arXiv:1412.6980) with clipping and an average of the weights.

    Args:
        weights: vector that is changed in place.
        average: vector of the averaged weights, changed in place.
        decay: of the average per step. While the average is young it is the plain mean.
        clip: largest norm of a gradient.
    """

    def __init__(
        self, weights: torch.Tensor, average: torch.Tensor, decay: float, clip: float
    ) -> None:
        self.step_count = 0
        self.weights = weights
        self.average = average
        self.decay = decay
        self.clip = clip
        self._adam = torch.optim.Adam([weights], fused=True)

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step along a gradient, a vector like the weights."""
        self.step_count += 1
        self.weights.grad = gradient
        torch.nn.utils.clip_grad_norm_([self.weights], self.clip)
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()
        self.average.lerp_(self.weights, max(1 - self.decay, 1 / self.step_count))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that a step changes, to be overwritten in place."""
        adam = self._adam.state[self.weights]
        return [self.weights, self.average, adam["exp_avg"], adam["exp_avg_sq"]]

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to continue bitwise."""
        adam = self._adam.state[self.weights]
        return {
            "step_count": self.step_count,
            "weights": self.weights.clone(),
            "average": self.average.clone(),
            "adam": {name: tensor.clone() for name, tensor in adam.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.step_count = state["step_count"]
        self.weights.copy_(state["weights"])
        self.average.copy_(state["average"])
        self._adam.state[self.weights] = {
            name: tensor.clone() for name, tensor in state["adam"].items()
        }
