"""Spread against error: perfect, useless and hand-computed rankings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats

import ekd
from ekd.data import Dataset
from ekd.errors import DataError
from ekd.evaluation import terminal_tables
from ekd.evaluation.calibration import calibrate
from ekd.models import UncertaintyHead
from untrained import ensemble


def test_by_hand() -> None:
    found = calibrate(np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 3.0, 2.0, 4.0]), n_bins=2)
    assert found.spearman == pytest.approx(0.8)  # one swap of neighbors among four
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


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("n_members", [1, 2])
def test_students_that_tell_their_uncertainty(
    test_dataset: Dataset, tmp_path: Path, n_members: int, exported: bool
) -> None:
    """The uncertainty has its own row, in addition to that of the committee spread."""
    truth = test_dataset.subset(np.arange(0, 90, 9))
    students = ensemble(n_members)
    torch.manual_seed(1)
    for member in students.members:
        member.model.set_uncertainty_head(UncertaintyHead(member.model.feature_widths[1:], 4))
    told = students.predict(truth)
    model: object = students if n_members > 1 else students.members[0]
    if exported:
        students.export(tmp_path / "students.pt")
        model = tmp_path / "students.pt"
    result = ekd.evaluate({"students": model}, truth, output=tmp_path / "out", progress=False)  # type: ignore[dict-item]
    rows = {(row.quantity, row.estimate): row.result for row in result.calibrations}
    expected = {("force", "uncertainty")}
    if n_members > 1:
        expected |= {("force", "spread"), ("energy_per_atom", "spread")}
    assert rows.keys() == expected
    error = np.sqrt(np.mean((told.forces - truth.forces) ** 2, axis=1))
    assert told.uncertainty is not None
    found = rows["force", "uncertainty"]
    assert found.spearman == pytest.approx(stats.spearmanr(told.uncertainty, error).statistic)
    assert found.scale == pytest.approx(
        np.sqrt(np.mean(error**2) / np.mean(told.uncertainty**2)), rel=1e-6
    )
    report = (tmp_path / "out" / "report.html").read_text()
    assert "forces, uncertainty" in report
    assert ("forces, spread" in report) == (n_members > 1)
    table = (tmp_path / "out" / "tables" / "calibration.csv").read_text()
    assert "force,uncertainty," in table
    text = Console(width=200, record=True)
    for one in terminal_tables(result):
        text.print(one)
    assert "forces, uncertainty" in text.export_text()
