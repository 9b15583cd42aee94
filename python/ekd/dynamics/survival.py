"""Survival of runs: Kaplan-Meier estimator, medians, and confidence intervals.

The time to failure of a run that reaches its end is longer than the run (censoring). The estimator
and its confidence bands (Greenwood's variance, on the scale log(-log S)) are those of
:func:`scipy.stats.ecdf`; the confidence interval of the median is where the bands cross one half
(Brookmeyer and Crowley, Biometrics 38, 29 (1982)).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Survival:
    """Survival of several runs of one kind.

    Attributes:
        n_runs: number of runs.
        n_failed: number of runs that failed; the others reached their end.
        median: median time to failure, ps; None if more than half of the runs survive the longest
            time.
        low, high: confidence interval of the median, ps; None if beyond the longest time.
        mean_time: mean duration of the runs up to the longest time (restricted mean), ps.
        longest: duration of the longest run, ps.
        times: times of failures and ends, in ascending order, ps.
        shares: fraction of the runs that survive each of these times.
        band_low, band_high: confidence band of these fractions.
    """

    n_runs: int
    n_failed: int
    median: float | None
    low: float | None
    high: float | None
    mean_time: float
    longest: float
    times: Array
    shares: Array
    band_low: Array
    band_high: Array

    @property
    def median_text(self) -> str:
        """The median with its confidence interval, ps: ``3.2 [1.1, > 10]``."""

        def shown(value: float | None) -> str:
            return f"> {self.longest:.3g}" if value is None else f"{value:.3g}"

        if self.n_failed == 0:
            return shown(None)
        return f"{shown(self.median)} [{shown(self.low)}, {shown(self.high)}]"


def survival(times: Sequence[float], failed: Sequence[bool], confidence: float = 0.95) -> Survival:
    """Estimate the survival of runs.

    >>> found = survival([1.0, 2.0, 3.0, 4.0], [True, True, True, False])
    >>> found.median, found.n_failed
    (2.0, 3)

    Args:
        times: time to failure, or to the end of a run that did not fail, ps; at least one.
        failed: whether each run failed.
        confidence: confidence level of the interval and the band.
    """
    end = np.asarray(times, dtype=float)
    event = np.asarray(failed, dtype=bool)
    if len(end) == 0 or end.shape != event.shape:
        raise ValueError("survival needs one time and one flag for every run, and at least one run")
    found = stats.ecdf(stats.CensoredData.right_censored(end, ~event)).sf
    with warnings.catch_warnings():  # log(-log S) of S = 0 and S = 1, see _filled
        warnings.simplefilter("ignore", RuntimeWarning)
        band = found.confidence_interval(confidence_level=confidence, method="log-log")
    at, share = np.asarray(found.quantiles), np.asarray(found.probabilities)
    low = np.minimum(_filled(np.asarray(band.low.probabilities), share), share)
    high = _filled(np.asarray(band.high.probabilities), share)
    # Between two times the curve has the value after the earlier one.
    steps = np.diff(np.concatenate([[0.0], at]))
    mean_time = float(np.sum(steps * np.concatenate([[1.0], share[:-1]])))
    return Survival(
        n_runs=len(end),
        n_failed=int(event.sum()),
        median=_first(at, share),
        low=_first(at, low),
        high=_first(at, high),
        mean_time=mean_time,
        longest=float(end.max()),
        times=at,
        shares=share,
        band_low=low,
        band_high=high,
    )


def _filled(band: Array, share: Array) -> Array:
    """Replace NaN in a band: 1 before the first failure (S = 1), the last known bound at S = 0."""
    result = band.copy()
    for k in range(len(result)):
        if np.isnan(result[k]):
            result[k] = 1.0 if share[k] == 1 else (result[k - 1] if k else 0.0)
    return result


def _first(times: Array, shares: Array) -> float | None:
    """Return the first time at which at most half survive."""
    below = np.flatnonzero(shares <= 0.5)
    return float(times[below[0]]) if len(below) else None
