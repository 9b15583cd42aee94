"""Core and runtime in C++, without torch: ``cpp/src/python/module.cpp``."""

from collections.abc import Callable
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

# Energy, atomic energies, forces, virial, energies of the members, forces_std, uncertainty, close
# pairs: two species, two atoms, distance, that of the training data.
_Results: TypeAlias = tuple[
    float,
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    list[tuple[int, int, int, int, float, float]],
]

# The same of every structure of a batch, but for the close pairs.
_BatchResults: TypeAlias = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
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
def check_device(device: str) -> str: ...
def count_cuda_devices() -> int: ...
def nvrtc_version() -> str: ...
def compile_kernels(
    architecture: int, single: bool, components: int, width: int = 0, sensitivities: int = 0
) -> int: ...
def kept_bytes() -> int: ...
def read_model_file(path: str) -> tuple[str, bool, str]: ...

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

class Archive:
    def __init__(self, path: str) -> None: ...
    def sizes(self) -> dict[str, int]: ...
    def read(self, name: str) -> bytes: ...
    def check_all(self) -> None: ...
    def check_script(self) -> None: ...
    @property
    def content(self) -> bytes: ...

class ExportedModel:
    def __init__(
        self,
        path: str,
        device: str,
        block: int,
        find_torch: Callable[[], int],
        sha256: str = "",
    ) -> None: ...
    @property
    def sha256(self) -> str: ...
    @property
    def metadata_json(self) -> str: ...
    @property
    def reduced(self) -> tuple[int, int]: ...
    def evaluate_pairs(
        self,
        species: ArrayLike,
        pairs: ArrayLike,
        pair_vectors: ArrayLike,
        n_threads: int,
    ) -> _Results: ...
    def evaluate_structure(
        self,
        verlet: VerletList,
        species: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None,
        pbc: ArrayLike | None,
        n_threads: int,
    ) -> _Results: ...
    def evaluate_batch(
        self,
        species: ArrayLike,
        positions: ArrayLike,
        offsets: ArrayLike,
        cells: ArrayLike | None,
        pbc: ArrayLike | None,
        max_atoms: int,
        n_threads: int,
    ) -> _BatchResults: ...
