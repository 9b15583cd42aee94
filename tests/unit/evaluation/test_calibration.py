"""Spread against error: orders that are perfect, useless and worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ekd.errors import DataError
from ekd.evaluation.calibration import calibrate


def test_by_hand() -> None:
    found = calibrate(np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 3.0, 2.0, 4.0]), n_bins=2)
    assert found.spearman == pytest.approx(0.8)  # one swap of neighbours among four
    assert found.scale == pytest.approx(1.0)  # the same numbers in another order
    np.testing.assert_allclose(found.spread_bins, np.sqrt([2.5, 12.5]))
    np.testing.assert_allclose(found.error_bins, np.sqrt([5.0, 10.0]))
    expected = (np.sqrt(2) - 1 + 1 - np.sqrt(0.8)) / 2
    assert found.calibration_error == pytest.approx(expected)
    # kept: 1; 1, 3; 1, 3, 2; all. By true error: 1; 1, 2; 1, 2, 3; all.
    curve = np.sqrt([1, 10 / 2, 14 / 3, 30 / 4])
    oracle = np.sqrt([1, 5 / 2, 14 / 3, 30 / 4])
    np.testing.assert_allclose(found.retention, curve)
    np.testing.assert_allclose(found.retained, [0.25, 0.5, 0.75, 1.0])
    assert found.area == pytest.approx(curve.mean())
    assert found.area_oracle == pytest.approx(oracle.mean())
    assert found.area_random == pytest.approx(np.sqrt(7.5))
    gain = (np.sqrt(7.5) - curve.mean()) / (np.sqrt(7.5) - oracle.mean())
    assert found.retention_gain == pytest.approx(gain)


def test_an_error_bar_is_calibrated_and_noise_is_not() -> None:
    random = np.random.default_rng(0)
    spread = random.uniform(0.1, 2.0, size=20_000)
    error = spread * random.normal(size=20_000)
    good = calibrate(spread, error)
    assert good.scale == pytest.approx(1, abs=0.03)
    assert good.calibration_error < 0.05
    assert good.spearman is not None
    assert good.spearman > 0.4
    assert len(good.retained) <= 200
    useless = calibrate(random.permutation(spread), error)
    assert useless.spearman == pytest.approx(0, abs=0.03)
    assert useless.retention_gain == pytest.approx(0, abs=0.05)
    perfect = calibrate(np.abs(error), error)
    assert perfect.retention_gain == pytest.approx(1)
    assert perfect.pearson == pytest.approx(1)


def test_constant_spread_has_no_correlation() -> None:
    found = calibrate(np.zeros(5), np.arange(5.0))
    assert found.spearman is None
    assert found.pearson is None
    assert found.scale == float("inf")


@pytest.mark.parametrize(
    ("spread", "error", "words"),
    [
        (np.ones(1), np.ones(1), "n of at least 2"),
        (np.ones(3), np.ones(4), r"shape \(3,\) and errors of shape \(4,\)"),
        (np.ones(2), np.array([1.0, np.nan]), "not finite"),
    ],
)
def test_what_cannot_be_compared(spread: np.ndarray, error: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        calibrate(spread, error)
