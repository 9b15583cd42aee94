"""SOAP: Adam in the eigenbasis of the gradient covariance of each weight matrix.

Energies of configurations constrain the directions in the space of a weight matrix very unevenly.
Adam scales each weight separately. In the eigenbasis of the second moments of the gradients, each
of these directions gets its own step size. Vyas et al., arXiv:2409.11321.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

_BETA1, _BETA2, _EPSILON = 0.9, 0.95, 1e-8
_PERIOD = 10  # steps between updates of the eigenbasis, as in the paper
_DAMPING = 1e-6  # relative to the mean of a moment: directions without gradients keep their axes
_LARGEST = 256  # largest dimension that is rotated, because QR is cubic


class _Matrices:
    """All weight matrices of one shape, and the eigenbases (axes) of their rows and columns.

    Args:
        index: indices of the matrices in the vector of all weights, int64 [n, rows, columns].
        like: tensor with the type and device to use.
    """

    def __init__(self, index: torch.Tensor, like: torch.Tensor) -> None:
        self.index = index
        n, *edges = index.shape
        rotated = [edge <= _LARGEST for edge in edges]
        self.moments = [
            like.new_zeros(n, edge, edge) if turn else None
            for edge, turn in zip(edges, rotated, strict=True)
        ]
        self.axes = [
            torch.eye(edge, dtype=like.dtype, device=like.device).repeat(n, 1, 1) if turn else None
            for edge, turn in zip(edges, rotated, strict=True)
        ]

    def observe(self, vector: torch.Tensor, is_first: bool) -> None:
        """Update the second moments of rows and columns with the gradient of a step."""
        gradient = vector[self.index]
        weight = 1.0 if is_first else 1 - _BETA2
        for side, moment in enumerate(self.moments):
            if moment is not None:
                product = gradient @ gradient.mT if side == 0 else gradient.mT @ gradient
                moment.lerp_(product, weight)

    def turn(self) -> None:
        """Update the axes by a step of power iteration, which keeps their order.

        Without damping, the axes of an empty subspace would be determined by rounding.
        """
        for moment, axes in zip(self.moments, self.axes, strict=True):
            if moment is not None and axes is not None:
                mean = moment.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
                axes.copy_(torch.linalg.qr(moment @ axes + _DAMPING * mean * axes)[0])

    def into_axes(self, vector: torch.Tensor, result: torch.Tensor) -> None:
        """Rotate the matrices of a vector into the eigenbasis, and write them to ``result``."""
        rows, columns = self.axes
        matrices = vector[self.index]
        if rows is not None:
            matrices = rows.mT @ matrices
        if columns is not None:
            matrices = matrices @ columns
        result[self.index] = matrices

    def out_of_axes(self, vector: torch.Tensor) -> None:
        """Rotate the matrices back, in place."""
        rows, columns = self.axes
        matrices = vector[self.index]
        if rows is not None:
            matrices = rows @ matrices
        if columns is not None:
            matrices = matrices @ columns.mT
        vector[self.index] = matrices

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors that a step changes."""
        return [part for part in (*self.moments, *self.axes) if part is not None]


class Soap:
    """SOAP update rule for :class:`~ekd.training.optimizer.Optimizer`.

    Args:
        weights: weights, a vector that is changed in place.
        shapes: shapes of the parameters in the vector, in order. For parameters that are not
            matrices or have a single row or column, the rule is Adam.
    """

    def __init__(self, weights: torch.Tensor, shapes: Sequence[torch.Size]) -> None:
        self.weights = weights
        self.n_steps = 0
        self._mean = torch.zeros_like(weights)
        self._square = torch.zeros_like(weights)  # in the eigenbasis
        places: dict[torch.Size, list[torch.Tensor]] = {}
        start = 0
        for shape in shapes:
            size = math.prod(shape)
            if len(shape) == 2 and min(shape) > 1:
                index = torch.arange(start, start + size, device=weights.device)
                places.setdefault(shape, []).append(index.reshape(shape))
            start += size
        self._groups = [_Matrices(torch.stack(found), weights) for found in places.values()]

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step along a gradient, a vector like the weights."""
        self.n_steps += 1
        for group in self._groups:
            group.observe(gradient, is_first=self.n_steps == 1)
            if self.n_steps % _PERIOD == 1:
                group.turn()
        self._mean.lerp_(gradient, 1 - _BETA1)
        turned, mean = gradient.clone(), self._mean.clone()
        for group in self._groups:
            group.into_axes(gradient, turned)
            group.into_axes(self._mean, mean)
        self._square.lerp_(turned.square_(), 1 - _BETA2)
        size = (self._square / (1 - _BETA2**self.n_steps)).sqrt_().add_(_EPSILON)
        change = mean.div_(size).div_(1 - _BETA1**self.n_steps)
        for group in self._groups:
            group.out_of_axes(change)
        self.weights.sub_(change, alpha=learning_rate)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors that a step changes, except the weights; they may be overwritten in place."""
        parts = [self._mean, self._square]
        return parts + [tensor for group in self._groups for tensor in group.tensors]

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, to continue bitwise identically."""
        return {"step": self.n_steps, "tensors": [part.clone() for part in self.tensors]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.n_steps = state["step"]
        for tensor, stored in zip(self.tensors, state["tensors"], strict=True):
            tensor.copy_(stored)
