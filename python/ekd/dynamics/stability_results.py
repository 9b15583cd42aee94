"""Results of a stability test: survival and drift, by structure and model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ase import Atoms

from ekd.dynamics.replicas import Outcome
from ekd.dynamics.stability_settings import StabilityConfig
from ekd.dynamics.survival import Survival

ALL = "all structures"
"""Name of the rows that combine all structures at one temperature."""


@dataclass(frozen=True)
class SurvivalRow:
    """All runs of one model, structure and temperature.

    Attributes:
        structure: name of the structure, or :data:`ALL`.
        temperature: temperature, K.
        model: name of the model, or of its individual members, whose runs are combined.
        engine: ``ASE`` or ``LAMMPS``.
        outcomes: outcomes of all runs.
        result: survival of the runs.
    """

    structure: str
    temperature: float
    model: str
    engine: str
    outcomes: list[Outcome]
    result: Survival

    @property
    def failures(self) -> dict[str, int]:
        """Number of failed runs by kind of failure."""
        kinds = [outcome.failure for outcome in self.outcomes if outcome.failure is not None]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


@dataclass(frozen=True)
class DriftRow:
    """All runs at constant energy of one model, structure and time step.

    Attributes:
        structure: name of the structure.
        timestep: time step, ps.
        model: as for :class:`SurvivalRow`.
        engine: ``ASE`` or ``LAMMPS``.
        drift: mean absolute slope of the total energy, eV/atom/ps; None if all runs failed.
        fluctuation: root mean square deviation from the line, mean over the runs, eV/atom.
        n_runs: number of runs.
        n_failed: number of runs that failed before their end.
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
    """The results of :func:`ekd.stability`. :func:`ekd.write_stability` writes them to files.

    Attributes:
        config: all settings.
        models: names of the rows of the tables, in order.
        structures: structures by name.
        survival: rows by structure, temperature and model; several structures are also combined.
        drift: rows by structure, time step and model.
        baseline: name of the row that medians are compared with: the single members of an ensemble;
            None if there is no ensemble.
        seconds: time of the runs on one core by model, s.
    """

    config: StabilityConfig
    models: list[str]
    structures: Mapping[str, Atoms]
    survival: list[SurvivalRow]
    drift: list[DriftRow]
    baseline: str | None
    seconds: Mapping[str, float]

    def ratio(self, row: SurvivalRow) -> tuple[float, bool] | None:
        """Return the median of a row divided by that of the baseline at the same conditions.

        Returns:
            The ratio, and whether it is a lower limit because more than half of the runs of the row
            survive; None if the baseline has no median, or is the row itself.
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
