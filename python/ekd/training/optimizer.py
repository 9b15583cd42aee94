"""Steps on one flat vector, and the running average of the weights.

A network here has some thirty small parameters. With one vector that they are all views of,
clipping, stepping and averaging are a few operations, and the state of a training is a few
vectors that a checkpoint stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch.optim.adam import adam

from ekd.training.soap import Soap

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam, as in the paper
_TINY = 1e-6  # under the norm of a gradient, which may vanish


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


class Adam:
    """Adam: Kingma and Ba, arXiv:1412.6980.

    Args:
        weights: vector that is changed in place.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        zeros = torch.zeros_like(weights)
        # By the names that torch.optim.Adam has for them in its own state.
        self._state = {
            "step": torch.zeros((), dtype=torch.float32, device=weights.device),
            "exp_avg": zeros,
            "exp_avg_sq": zeros.clone(),
        }

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step along a gradient, a vector like the weights."""
        # The function, not the class: what the class adds for many kinds of parameters takes as
        # long as the step itself.
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
        """All that a step changes but the weights, to be overwritten in place."""
        return [self._state["exp_avg"], self._state["exp_avg_sq"]]

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to continue bitwise."""
        return {name: tensor.clone() for name, tensor in self._state.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        for name, tensor in self._state.items():
            tensor.copy_(state[name])


class Optimizer:
    """SOAP or Adam, with clipping and an average of the weights.

    Args:
        weights: vector that is changed in place.
        average: vector of the averaged weights, changed in place.
        decay: of the average per step. While the average is young it is the plain mean.
        clip: largest norm of a gradient.
        rule: how a gradient becomes a step.
        shapes: of the parameters in ``weights``, in their order, which SOAP needs to know.
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
        """All that a step changes, to be overwritten in place."""
        return [self.weights, self.average, *self._rule.tensors]

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to continue bitwise."""
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
