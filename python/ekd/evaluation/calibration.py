"""Calibration: how well spreads and learned uncertainties predict the true errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ekd.data import Dataset
from ekd.errors import DataError
from ekd.evaluation.models import ModelPredictions

Array = NDArray[np.float64]

_POINTS = 200  # number of stored points of a retention curve


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted spread and true error, of forces per atom or of energies per configuration.

    Attributes:
        n: number of atoms or configurations.
        spearman: rank correlation of spread and error; None if one of them is constant.
        pearson: linear correlation of spread and error; None if one of them is constant.
        scale: root mean square error divided by root mean square spread. It is 1 if the spread is
            an error bar; otherwise, multiply the spread by this factor.
        calibration_error: mean over the bins of the reliability diagram of |error - spread| /
            spread (expected normalized calibration error, Levi et al., Sensors 22, 5540 (2022)).
        spread_bins: root mean square spread in bins with equal counts, [n_bins].
        error_bins: root mean square error in the same bins, [n_bins].
        retained: fractions retained in order of increasing spread, ascending to 1, [n_points].
        retention: root mean square error of the retained ones, [n_points].
        retention_oracle: the same, sorted by the true error, [n_points].
        area: area under the error-retention curve.
        area_oracle: area if sorted by the true error.
        area_random: area for a random order, i.e. the root mean square error of all.
    """

    n: int
    spearman: float | None
    pearson: float | None
    scale: float
    calibration_error: float
    spread_bins: Array
    error_bins: Array
    retained: Array
    retention: Array
    retention_oracle: Array
    area: float
    area_oracle: float
    area_random: float

    @property
    def retention_gain(self) -> float | None:
        """Gain over a random order relative to that of an oracle: 1 is perfect, 0 is random."""
        possible = self.area_random - self.area_oracle
        return None if possible <= 0 else (self.area_random - self.area) / possible


def calibrate(spread: Array, error: Array, n_bins: int = 10) -> Calibration:
    """Compare spreads with errors.

    Args:
        spread: predicted standard deviations, [n], not negative.
        error: true errors in the same unit, [n]; signs are ignored.
        n_bins: maximum number of bins of the reliability diagram.

    Raises:
        DataError: there are fewer than two values, or one is not finite.
    """
    spread, error = np.asarray(spread, float), np.abs(np.asarray(error, float))
    if spread.shape != error.shape or spread.ndim != 1 or len(spread) < 2:
        raise DataError(
            f"spreads of shape {spread.shape} and errors of shape {error.shape} cannot be "
            "compared; two arrays [n] with n of at least 2 are needed",
            code="EKD-DATA-054",
        )
    if not (np.isfinite(spread).all() and np.isfinite(error).all()):
        raise DataError(
            "a spread or an error is not finite; leave out those configurations",
            code="EKD-DATA-055",
        )
    order = np.argsort(spread, kind="stable")
    bins = np.array_split(order, min(n_bins, len(order)))
    spread_bins = np.array([_rms(spread[rows]) for rows in bins])
    error_bins = np.array([_rms(error[rows]) for rows in bins])
    known = spread_bins > 0
    shares, curve, area = _retention(error[order])
    _, oracle, area_oracle = _retention(np.sort(error))
    varies = np.ptp(spread) > 0 and np.ptp(error) > 0
    return Calibration(
        n=len(spread),
        spearman=float(stats.spearmanr(spread, error).statistic) if varies else None,
        pearson=float(stats.pearsonr(spread, error).statistic) if varies else None,
        scale=_rms(error) / _rms(spread) if spread.any() else float("inf"),
        calibration_error=float(
            np.mean(np.abs(error_bins[known] - spread_bins[known]) / spread_bins[known])
        )
        if known.any()
        else float("inf"),
        spread_bins=spread_bins,
        error_bins=error_bins,
        retained=shares,
        retention=curve,
        retention_oracle=oracle,
        area=area,
        area_oracle=area_oracle,
        area_random=_rms(error),
    )


def spread_and_error(
    truth: Dataset, found: ModelPredictions, quantity: str, estimate: str = "spread"
) -> tuple[Array, Array]:
    """Return the spreads and errors for a calibration, [n] each, not negative.

    Args:
        truth: reference energies and forces.
        found: predictions of a model.
        quantity: ``force`` or ``energy_per_atom``.
        estimate: ``spread`` of the members or, for forces, the learned ``uncertainty``.
    """
    if quantity == "force":
        assert truth.forces is not None
        told = found.forces_std if estimate == "spread" else found.uncertainty
        assert told is not None
        return told, np.sqrt(np.mean((found.forces - truth.forces) ** 2, axis=1))
    assert found.energies_std is not None
    n_atoms = truth.n_atoms_per_config
    return found.energies_std / n_atoms, np.abs(found.energies - truth.energies) / n_atoms


def _retention(error: Array) -> tuple[Array, Array, float]:
    """Return fractions, errors and area of the retention curve for errors in a given order."""
    curve = np.sqrt(np.cumsum(error**2) / np.arange(1, len(error) + 1))
    shown = np.unique(np.linspace(0, len(error) - 1, min(_POINTS, len(error))).round().astype(int))
    return (shown + 1) / len(error), curve[shown], float(curve.mean())


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
