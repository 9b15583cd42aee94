"""Loss weights of a student from the spread of its teachers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.config import SpreadConfig
from ekd.data import Dataset
from ekd.distillation.labels import Labels
from ekd.errors import DataError
from ekd.training.batches import LossWeights

_ATOMS = 1_000_000  # atoms to process at a time


@dataclass(frozen=True, eq=False)
class Trust:
    """Loss weights and selected configurations of a student.

    Attributes:
        weights: loss weights; None: all one.
        kept: which configurations to train on, Boolean [n_configs].
        n_above: number of configurations whose spread exceeds the limit.
    """

    weights: LossWeights | None
    kept: NDArray[np.bool_]
    n_above: int


def configuration_spread(data: Dataset, labels: Labels) -> NDArray[np.float64]:
    """Return the root mean square of ``forces_std`` over the atoms, [n_configs] eV/Å."""
    step, squares = max(1, _ATOMS * len(data) // data.n_atoms), []
    for first in range(0, len(data), step):  # labels may be mapped and larger than memory
        offsets = data.offsets[first : first + step + 1]
        here = labels.forces_std[offsets[0] : offsets[-1]]
        squares.append(np.add.reduceat(here**2, offsets[:-1] - offsets[0]))
    spread: NDArray[np.float64] = np.sqrt(np.concatenate(squares) / data.n_atoms_per_config)
    return spread


def trust(
    data: Dataset,
    labels: Labels,
    spread: SpreadConfig,
    extra_energy_weight: float = 1.0,
    extra_force_weight: float = 1.0,
) -> Trust:
    """Compute loss weights from the spread of the teachers.

    Args:
        data: the data, including extra configurations, whose energies are NaN.
        labels: labels of all these configurations.
        spread: settings.
        extra_energy_weight: weight of the teachers' mean energies of extra configurations.
        extra_force_weight: weight of forces on atoms of extra configurations.

    Raises:
        DataError: no configuration with a true energy is left.
    """
    n_configs = len(data)
    of_config, kept = np.ones(n_configs), np.full(n_configs, True)
    n_above = 0
    if spread.limit is not None:
        found = configuration_spread(data, labels)
        above = found > spread.limit
        n_above = int(above.sum())
        if spread.above_limit == "down-weight":
            of_config[above] = (spread.limit / found[above]) ** 2
        elif spread.above_limit == "drop-forces":
            of_config[above] = 0.0
        else:
            kept = ~above

    is_true = np.isfinite(data.energies)
    if not (kept & is_true).any():
        raise DataError(
            f"the teachers' spread exceeds spread.limit = {spread.limit} eV/Å in every "
            "configuration, so nothing is left to learn from; raise it, or choose "
            "above_limit = 'down-weight'",
            code="EKD-LABELS-012",
        )
    if is_true.all() and spread.scale is None and (of_config == 1).all():
        return Trust(None, kept, n_above)
    known = np.full(n_configs, labels.energies is not None)
    of_energy = np.where(is_true, 1.0, extra_energy_weight * known * of_config)
    of_force = np.where(is_true, 1.0, extra_force_weight) * of_config
    of_atom = np.repeat(of_force, data.n_atoms_per_config)
    if spread.scale is not None:
        of_atom *= 1 / (1 + (np.asarray(labels.forces_std) / spread.scale) ** 2)
    return Trust(LossWeights(of_energy, of_atom), kept, n_above)
