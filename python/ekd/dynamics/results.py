"""Results of a test of stability: survival and drift, by structure and model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ase import Atoms

from ekd.dynamics.molecules import Outcome
from ekd.dynamics.settings import StabilityConfig
from ekd.dynamics.survival import Survival

ALL = "all structures"
"""Name of the rows that join all structures at one temperature."""


@dataclass(frozen=True)
class SurvivalRow:
    """All runs of one model, structure and temperature.

    Attributes:
        structure: its name, or :data:`ALL`.
        temperature: K.
        model: its name, or that of one of several members, whose runs are joined.
        engine: ``ASE`` or ``LAMMPS``.
        outcomes: of every run.
        result: their survival.
    """

    structure: str
    temperature: float
    model: str
    engine: str
    outcomes: list[Outcome]
    result: Survival

    @property
    def failures(self) -> dict[str, int]:
        """How many runs failed in which way."""
        kinds = [outcome.failure for outcome in self.outcomes if outcome.failure is not None]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


@dataclass(frozen=True)
class DriftRow:
    """All runs at constant energy of one model, structure and time step.

    Attributes:
        structure: its name.
        timestep: ps.
        model: as of :class:`SurvivalRow`.
        engine: ``ASE`` or ``LAMMPS``.
        drift: mean of the absolute slopes of the total energy, eV/atom/ps; None: all failed.
        fluctuation: root mean square deviation from the line, mean over the runs, eV/atom.
        n_runs: all.
        n_failed: those that failed before their end.
    """

    structure: str
    timestep: float
    model: str
    engine: str
    drift: float | None
    fluctuation: float | None
    n_runs: int
    n_failed: int


@dataclass(frozen=True, eq=False)
class Stability:
    """The results of :func:`ekd.stability`. :func:`ekd.write_stability` makes files of them.

    Attributes:
        config: all settings.
        models: rows of the tables, in their order.
        structures: by name.
        survival: of every structure, temperature and model; with several structures also of all.
        drift: of every structure, time step and model.
        baseline: row that medians are compared with, single members of an ensemble; or None.
        seconds: that the runs took, of one core, by model.
    """

    config: StabilityConfig
    models: list[str]
    structures: Mapping[str, Atoms]
    survival: list[SurvivalRow]
    drift: list[DriftRow]
    baseline: str | None
    seconds: Mapping[str, float]

    def ratio(self, row: SurvivalRow) -> tuple[float, bool] | None:
        """Median of a row over that of the baseline, same structure and temperature.

        Returns:
            the ratio, and whether it is a lower limit, because more than half of the runs of the
            row survive; None where the baseline has no median, or is the row itself.
        """
        for other in self.survival:
            if (other.structure, other.temperature, other.model) == (
                row.structure,
                row.temperature,
                self.baseline,
            ):
                median = other.result.median
                if median is None or other is row:
                    return None
                own = row.result.median
                return (row.result.longest if own is None else own) / median, own is None
        return None
