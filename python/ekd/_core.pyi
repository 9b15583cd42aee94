"""The torch-free C++ core, ``cpp/src/python/module.cpp``."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The arrays of ekd.neighbor_list.NeighborList, in its order.
_Arrays: TypeAlias = tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
]

def neighbor_list(
    positions: ArrayLike,
    offsets: ArrayLike,
    cutoff: float,
    cells: ArrayLike | None,
    pbc: ArrayLike | None,
    n_threads: int,
) -> _Arrays: ...
def instruction_set() -> str: ...
def kept_bytes() -> int: ...

class VerletList:
    def __init__(self, cutoff: float, skin: float) -> None: ...
    def update(
        self,
        positions: ArrayLike,
        offsets: ArrayLike,
        cells: ArrayLike | None,
        pbc: ArrayLike | None,
        n_threads: int,
    ) -> _Arrays: ...
    @property
    def n_rebuilds(self) -> int: ...
