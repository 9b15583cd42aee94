"""Buffers that keep their precision."""

from collections.abc import Callable
from typing import Any

import torch


class Float64Buffers(torch.nn.Module):
    """A module whose own buffers stay float64 when it is cast.

    ``module.float()`` casts all buffers, but total energies are thousands of eV, for which float32
    has rounding errors as large as typical model errors.
    """

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Float64Buffers":
        exact = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            moved = self._buffers[name]
            if buffer is not None and moved is not None:
                self._buffers[name] = buffer.to(moved.device)
        return self
