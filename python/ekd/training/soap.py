"""SOAP: Adam in the axes in which the gradients of a matrix vary.

Energies of configurations constrain many directions in the space of a weight matrix very unevenly.
Adam sees single weights; in the eigenvectors of the gradients' second moments the directions come
apart, and each gets a step of its own size. Vyas et al., arXiv:2409.11321.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

_BETA1, _BETA2, _EPSILON = 0.9, 0.95, 1e-8
_PERIOD = 10  # steps between two updates of the axes, as in the paper
_DAMPING = 1e-6  # of a moment, times its mean: directions without gradients keep their axes
_LARGEST = 256  # edge of a matrix beyond which that side keeps its own axes: QR is cubic


class _Matrices:
    """All weight matrices of one shape, and the axes of their rows and columns.

    Args:
        index: where they are in the vector of all weights, int64 [n, rows, columns].
        like: for type and device.
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
        """Take the gradient of a step into the second moments of rows and columns."""
        gradient = vector[self.index]
        weight = 1.0 if is_first else 1 - _BETA2
        for side, moment in enumerate(self.moments):
            if moment is not None:
                product = gradient @ gradient.mT if side == 0 else gradient.mT @ gradient
                moment.lerp_(product, weight)

    def turn(self) -> None:
        """Bring the axes up to date: a step of power iteration, which keeps their order.

        Without damping, rounding would choose the axes of an empty subspace.
        """
        for moment, axes in zip(self.moments, self.axes, strict=True):
            if moment is not None and axes is not None:
                mean = moment.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
                axes.copy_(torch.linalg.qr(moment @ axes + _DAMPING * mean * axes)[0])

    def into_axes(self, vector: torch.Tensor, result: torch.Tensor) -> None:
        """Write the matrices of a vector in the axes of the gradients into another."""
        rows, columns = self.axes
        matrices = vector[self.index]
        if rows is not None:
            matrices = rows.mT @ matrices
        if columns is not None:
            matrices = matrices @ columns
        result[self.index] = matrices

    def out_of_axes(self, vector: torch.Tensor) -> None:
        """The way back, in place."""
        rows, columns = self.axes
        matrices = vector[self.index]
        if rows is not None:
            matrices = rows @ matrices
        if columns is not None:
            matrices = matrices @ columns.mT
        vector[self.index] = matrices

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What changes."""
        return [part for part in (*self.moments, *self.axes) if part is not None]


class Soap:
    """The rule by which :class:`~ekd.training.optimizer.Optimizer` changes the weights.

    Args:
        weights: vector that is changed in place.
        shapes: of the parameters that it is made of, in their order. What is no matrix, or a single
            row, is left to Adam.
    """

    def __init__(self, weights: torch.Tensor, shapes: Sequence[torch.Size]) -> None:
        self.weights = weights
        self.n_steps = 0
        self._mean = torch.zeros_like(weights)
        self._square = torch.zeros_like(weights)  # in the axes
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
        """All that a step changes but the weights, to be overwritten in place."""
        parts = [self._mean, self._square]
        return parts + [tensor for group in self._groups for tensor in group.tensors]

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to continue bitwise."""
        return {"step": self.n_steps, "tensors": [part.clone() for part in self.tensors]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self.n_steps = state["step"]
        for tensor, stored in zip(self.tensors, state["tensors"], strict=True):
            tensor.copy_(stored)
