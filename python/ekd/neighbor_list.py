"""Neighbor lists from the C++ cell list, used by training, the ASE calculator and tests.

Lists are full (``i -> j`` and ``j -> i``), sorted by center, and contain every pair with
``0 < distance < cutoff``, once per periodic image::

    pair_vectors = positions[j] - positions[i] + cell_shifts @ cell

The order of the pairs of a center depends only on the structure and the cutoff: the same input
gives a bitwise identical list with any number of threads and on any processor.

For array inputs the results are numpy arrays, for tensors they are tensors on the same device.
Contiguous float64 inputs in CPU memory are not copied, and the result arrays own the memory
allocated in C++. If positions or cell require a gradient, the pair vectors do too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ekd import _native
from ekd.errors import StructureError
from ekd.threads import default_threads

if TYPE_CHECKING:
    import torch

    TensorLike = torch.Tensor | ArrayLike


@dataclass(frozen=True)
class NeighborList:
    """All pairs of one structure, or of a batch of structures.

    Attributes:
        pairs: centers in ascending order (row 0) and their neighbors (row 1), int64 (2, n_pairs).
        cell_shifts: multiples of the lattice vectors added to the neighbor's position, int32
            (n_pairs, 3).
        pair_vectors: vectors from center to neighbor, float64 (n_pairs, 3), Å.
        pair_offsets: the pairs of structure s are ``pair_offsets[s]:pair_offsets[s + 1]``, int64
            (n_structures + 1).
        center_offsets: the pairs of atom i are ``center_offsets[i]:center_offsets[i + 1]``, int64
            (n_atoms + 1).
    """

    pairs: NDArray[np.int64]
    cell_shifts: NDArray[np.int32]
    pair_vectors: NDArray[np.float64]
    pair_offsets: NDArray[np.int64]
    center_offsets: NDArray[np.int64]


@dataclass(frozen=True)
class TensorNeighborList:
    """A :class:`NeighborList` of tensors; the pair vectors have the dtype of the positions."""

    pairs: torch.Tensor
    cell_shifts: torch.Tensor
    pair_vectors: torch.Tensor
    pair_offsets: torch.Tensor
    center_offsets: torch.Tensor


@overload
def neighbor_list(
    positions: torch.Tensor,
    cutoff: float,
    cell: TensorLike | None = None,
    pbc: TensorLike | bool = False,
    n_threads: int | None = None,
) -> TensorNeighborList: ...
@overload
def neighbor_list(
    positions: ArrayLike,
    cutoff: float,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | bool = False,
    n_threads: int | None = None,
) -> NeighborList: ...
def neighbor_list(
    positions: TensorLike,
    cutoff: float,
    cell: TensorLike | None = None,
    pbc: TensorLike | bool = False,
    n_threads: int | None = None,
) -> NeighborList | TensorNeighborList:
    """Find the pairs of one structure, for any triclinic cell, periodicity and size.

    Args:
        positions: positions of the atoms, (n_atoms, 3), Å.
        cutoff: cutoff radius, Å.
        cell: lattice vectors as rows, (3, 3), Å; only those of periodic directions are used.
        pbc: periodicity, one flag or one per direction.
        n_threads: number of threads; None: :func:`ekd.threads.default_threads`.

    Raises:
        StructureError: no atoms, atoms on top of each other (closer than 1e-3 Å), positions that
            are not finite, a periodic direction without a cell vector, a degenerate cell, a cutoff
            that is not positive, or arrays of the wrong shape.
    """
    structure = Structures.single(positions, cell, pbc)
    found = _native.core().neighbor_list(
        structure.positions,
        structure.offsets,
        cutoff,
        structure.cells,
        structure.pbc,
        _threads(n_threads),
    )
    return _like(positions, cell, NeighborList(*found))


@overload
def batched_neighbor_list(
    positions: torch.Tensor,
    offsets: TensorLike,
    cutoff: float,
    cells: TensorLike | None = None,
    pbc: TensorLike | None = None,
    n_threads: int | None = None,
) -> TensorNeighborList: ...
@overload
def batched_neighbor_list(
    positions: ArrayLike,
    offsets: ArrayLike,
    cutoff: float,
    cells: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    n_threads: int | None = None,
) -> NeighborList: ...
def batched_neighbor_list(
    positions: TensorLike,
    offsets: TensorLike,
    cutoff: float,
    cells: TensorLike | None = None,
    pbc: TensorLike | None = None,
    n_threads: int | None = None,
) -> NeighborList | TensorNeighborList:
    """Find the pairs of many structures at once; atom indices refer to the whole batch.

    Args:
        positions: positions of the atoms of all structures, (n_atoms, 3), Å.
        offsets: structure s has the atoms ``offsets[s]:offsets[s + 1]``, (n_structures + 1).
        cutoff: cutoff radius, Å.
        cells: lattice vectors as rows, (n_structures, 3, 3), Å; None if nothing is periodic.
        pbc: periodicity, (n_structures, 3); None if nothing is periodic.
        n_threads: number of threads; None: :func:`ekd.threads.default_threads`.

    Raises:
        StructureError: as for :func:`neighbor_list`, with the number of the structure; or the
            shapes of the arrays do not match.
    """
    batch = Structures.batch(positions, offsets, cells, pbc)
    found = _native.core().neighbor_list(
        batch.positions, batch.offsets, cutoff, batch.cells, batch.pbc, _threads(n_threads)
    )
    return _like(positions, cells, NeighborList(*found))


class VerletList:
    """Neighbor lists of one structure as its atoms move.

    Pairs within ``cutoff + skin`` are stored, and neighbors are searched only among them until an
    atom has moved by more than half the skin, or the cell, the periodicity or the number of atoms
    changes. The lists are the same as those of :func:`neighbor_list`, except for the order of the
    pairs of a center, which is that of the last rebuild.

    >>> verlet = VerletList(cutoff=5.5)  # doctest: +SKIP
    >>> pairs = verlet.update(atoms.positions, atoms.cell.array, atoms.pbc)  # doctest: +SKIP

    The memory of a released list is reused for the next one; the object keeps the memory of one
    list. It can be used from any thread. Copies and unpickled objects start with an empty list.

    Args:
        cutoff: cutoff radius, Å.
        skin: distance beyond the cutoff within which pairs are stored, Å; 0: always rebuild.
        n_threads: number of threads; None: :func:`ekd.threads.default_threads`.

    Raises:
        StructureError: ``cutoff`` is not positive, or ``skin`` is negative.
    """

    def __init__(self, cutoff: float, skin: float = 0.5, n_threads: int | None = None):
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.n_threads = n_threads
        self.n_updates = 0
        _threads(n_threads)
        self._native = _native.core().VerletList(self.cutoff, self.skin)

    @property
    def n_rebuilds(self) -> int:
        """Number of updates, out of ``n_updates``, that rebuilt the list from all atoms."""
        return int(self._native.n_rebuilds)

    @overload
    def update(
        self,
        positions: torch.Tensor,
        cell: TensorLike | None = None,
        pbc: TensorLike | bool = False,
    ) -> TensorNeighborList: ...
    @overload
    def update(
        self,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | bool = False,
    ) -> NeighborList: ...
    def update(
        self,
        positions: TensorLike,
        cell: TensorLike | None = None,
        pbc: TensorLike | bool = False,
    ) -> NeighborList | TensorNeighborList:
        """Find the pairs within the cutoff; arguments and errors as for :func:`neighbor_list`."""
        structure = Structures.single(positions, cell, pbc)
        found = self._native.update(
            structure.positions,
            structure.offsets,
            structure.cells,
            structure.pbc,
            _threads(self.n_threads),
        )
        self.n_updates += 1
        return _like(positions, cell, NeighborList(*found))

    def evaluate(
        self,
        runtime: Any,
        species: NDArray[np.int64],
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | bool = False,
    ) -> tuple[Any, ...]:
        """Evaluate a compiled model with the pairs of :meth:`update`, without copying them.

        The list must have the cutoff of the model.

        Args:
            runtime: ``ExportedModel`` of the compiled core.
            species: indices into the elements of the model, (n_atoms).
            positions: as for :func:`neighbor_list`, including errors.
            cell: as for :func:`neighbor_list`.
            pbc: as for :func:`neighbor_list`.

        Returns:
            Energy, atomic energies, forces, virial, energies of the members, forces_std,
            uncertainty.
        """
        structure = Structures.single(positions, cell, pbc)
        found: tuple[Any, ...] = runtime.evaluate_structure(
            self._native,
            species,
            structure.positions,
            None if structure.cells is None else structure.cells[0],
            None if structure.pbc is None else structure.pbc[0],
            _threads(self.n_threads),
        )
        self.n_updates += 1
        return found

    def __reduce__(self) -> tuple[type[VerletList], tuple[float, float, int | None]]:
        return VerletList, (self.cutoff, self.skin, self.n_threads)


@dataclass(frozen=True)
class Structures:
    """Contiguous arrays with the types and shapes that C++ requires."""

    positions: NDArray[np.float64]
    offsets: NDArray[np.int64]
    cells: NDArray[np.float64] | None
    pbc: NDArray[np.uint8] | None

    @classmethod
    def single(
        cls, positions: TensorLike, cell: TensorLike | None, pbc: TensorLike | bool
    ) -> Structures:
        """Make it from one structure; arguments and errors as for :func:`neighbor_list`."""
        array = as_array(positions, np.float64)
        flags = as_array(pbc, np.bool_)
        if flags.shape not in ((), (1,), (3,)):
            raise StructureError(
                f"pbc has shape {flags.shape}, expected one flag or three", code="EKD-STRUCTURE-004"
            )
        lattice = None if cell is None else as_array(cell, np.float64)
        is_sound = array.ndim == 2 and array.shape[1] == 3 and len(array) > 0
        if is_sound and flags.shape == (3,) and (lattice is None or lattice.shape == (3, 3)):
            # The common case; the checks below take longer than a small molecule.
            return cls(
                array,
                np.array([0, len(array)], dtype=np.int64),
                None if lattice is None else lattice[None],
                flags[None].view(np.uint8),
            )
        return cls.batch(
            array,
            np.array([0, len(array) if array.ndim else 0], dtype=np.int64),
            None if lattice is None else lattice[None],
            np.broadcast_to(flags, (1, 3)),
        )

    @classmethod
    def batch(
        cls,
        positions: TensorLike,
        offsets: TensorLike,
        cells: TensorLike | None,
        pbc: TensorLike | None,
        *,
        may_be_empty: bool = False,
    ) -> Structures:
        """Make it from several structures; see :func:`batched_neighbor_list`, including errors.

        Args:
            positions: as for :func:`batched_neighbor_list`.
            offsets: as for :func:`batched_neighbor_list`.
            cells: as for :func:`batched_neighbor_list`.
            pbc: as for :func:`batched_neighbor_list`.
            may_be_empty: allow zero structures.
        """
        positions = as_array(positions, np.float64)
        offsets = as_array(offsets, np.int64).reshape(-1)
        if positions.size == 0 and not (may_be_empty and len(offsets) == 1):
            raise StructureError(
                "no atoms; a structure needs at least one atom", code="EKD-STRUCTURE-002"
            )
        n_structures = len(offsets) - 1
        if cells is not None:
            cells = _shaped("cells", as_array(cells, np.float64), (n_structures, 3, 3))
        if pbc is not None:
            pbc = _shaped("pbc", as_array(pbc, np.bool_), (n_structures, 3)).view(np.uint8)
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise StructureError(
                f"positions have shape {positions.shape}, expected (n_atoms, 3)",
                code="EKD-STRUCTURE-004",
            )
        if n_structures < 0 or offsets[0] != 0 or offsets[-1] != len(positions):
            raise StructureError(
                f"offsets run from {offsets[:1]} to {offsets[-1:]}, expected 0 to "
                f"{len(positions)}, the number of atoms",
                code="EKD-STRUCTURE-005",
            )
        if (np.diff(offsets) < 0).any():
            raise StructureError(
                f"offset {offsets[1:][np.diff(offsets) < 0][0]} comes after a larger one; offsets "
                "ascend from 0 to the number of atoms",
                code="EKD-STRUCTURE-005",
            )
        return cls(positions, offsets, cells, pbc)


def as_array(values: TensorLike | bool, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a contiguous array in CPU memory, without a copy if possible."""
    if _is_tensor(values):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=dtype, order="C")


def _shaped(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if array.shape != shape:
        raise StructureError(
            f"{name} have shape {array.shape}, expected {shape}", code="EKD-STRUCTURE-004"
        )
    return array


def _is_tensor(values: object) -> TypeGuard[torch.Tensor]:
    """Check this without importing torch: if there is a tensor, torch has been imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def _like(
    positions: TensorLike, cells: TensorLike | None, found: NeighborList
) -> NeighborList | TensorNeighborList:
    """Convert the list to tensors if the positions are a tensor."""
    if not _is_tensor(positions):
        return found
    import torch

    dtype = positions.dtype if positions.is_floating_point() else torch.float64
    device = positions.device
    pairs = torch.from_numpy(found.pairs).to(device)
    cell_shifts = torch.from_numpy(found.cell_shifts).to(device)
    pair_offsets = torch.from_numpy(found.pair_offsets).to(device)
    if positions.requires_grad or (_is_tensor(cells) and cells.requires_grad):
        pair_vectors = positions[pairs[1]] - positions[pairs[0]]
        if cells is not None:
            lattices = torch.as_tensor(cells, dtype=dtype, device=device).reshape(-1, 3, 3)
            lattices = lattices.repeat_interleave(pair_offsets.diff(), dim=0)
            pair_vectors = pair_vectors + (cell_shifts.to(dtype).unsqueeze(1) @ lattices).squeeze(1)
    else:
        pair_vectors = torch.from_numpy(found.pair_vectors).to(device, dtype)
    return TensorNeighborList(
        pairs,
        cell_shifts,
        pair_vectors,
        pair_offsets,
        torch.from_numpy(found.center_offsets).to(device),
    )


def _threads(n_threads: int | None) -> int:
    if n_threads is None:
        return default_threads()
    if n_threads < 1:
        raise StructureError(
            f"n_threads is {n_threads}; it must be 1 or more", code="EKD-CONFIG-011"
        )
    return n_threads
