"""The estimator of Kaplan and Meier against a published example."""

from __future__ import annotations

import numpy as np
import pytest

from ekd.dynamics import survival

# Weeks of remission under 6-mercaptopurine, + is censored: Freireich et al., Blood 21, 699 (1963).
WEEKS = [6, 6, 6, 7, 10, 13, 16, 22, 23]
CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]


def test_published_example() -> None:
    found = survival(
        [*map(float, WEEKS), *map(float, CENSORED)], [True] * len(WEEKS) + [False] * len(CENSORED)
    )
    assert (found.n_runs, found.n_failed) == (21, 9)
    expected = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for week, share in expected.items():
        assert found.shares[found.times == week][0] == pytest.approx(share, abs=5e-4)
    assert found.median == 23
    # R's survfit(conf.type = "log-log") gives 13 and no upper limit
    assert found.low == 13
    assert found.high is None
    assert found.median_text == "23 [13, > 35]"
    assert found.longest == 35


def test_without_failures_nothing_is_known_but_a_lower_limit() -> None:
    found = survival([10.0, 10.0, 10.0], [False, False, False])
    assert (found.median, found.low, found.high) == (None, None, None)
    assert found.mean_time == 10
    assert found.median_text == "> 10"
    np.testing.assert_array_equal(found.band_low, 1)


def test_all_fail() -> None:
    found = survival([1.0, 2.0, 3.0, 4.0], [True] * 4)
    np.testing.assert_allclose(found.shares, [0.75, 0.5, 0.25, 0.0])
    assert found.median == 2.0
    assert found.mean_time == pytest.approx(2.5)
    assert found.low == 1.0
    assert np.isfinite(found.band_low).all()
    assert np.isfinite(found.band_high).all()
    assert (found.band_low <= found.shares).all()


def test_interval_holds_the_true_median() -> None:
    """For exponential times the true median is ln 2; at least 90 % of the intervals contain it."""
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        times = random.exponential(size=30)
        found = survival(np.minimum(times, 2.0), times < 2.0)  # type: ignore[arg-type]
        high = np.inf if found.high is None else found.high
        hits += (found.low or 0) <= np.log(2) <= high
    assert hits >= 180


def test_no_run_is_no_survival() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        survival([], [])
