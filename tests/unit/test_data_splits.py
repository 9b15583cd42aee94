"""Splits: complete, disjoint, repeatable, and without leakage by formula."""

from __future__ import annotations

import numpy as np
import pytest

from ekd.data import Dataset, folds, split
from ekd.errors import DataError


@pytest.mark.parametrize("by", ["configuration", "formula"])
@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.999])
def test_two_sorted_parts_of_the_whole(small_dataset: Dataset, by: str, fraction: float) -> None:
    training, validation = split(small_dataset, fraction, by=by)
    assert len(training) > 0
    assert len(validation) > 0
    assert training.dtype == validation.dtype == np.int64
    for part in (training, validation):
        assert (np.diff(part) > 0).all()
    both = np.sort(np.concatenate([training, validation]))
    np.testing.assert_array_equal(both, np.arange(len(small_dataset)))


def test_size_of_the_share(training_dataset: Dataset) -> None:
    assert len(split(training_dataset, 0.1)[1]) == 341
    by_formula = len(split(training_dataset, 0.1, by="formula")[1])
    assert 0.05 * len(training_dataset) < by_formula <= 341


def test_by_formula_shares_no_formula(training_dataset: Dataset) -> None:
    for seed in range(5):
        training, validation = split(training_dataset, 0.2, by="formula", seed=seed)
        formulas = training_dataset.formulas
        assert not set(formulas[training]) & set(formulas[validation])


@pytest.mark.parametrize("by", ["configuration", "formula"])
def test_the_seed_decides(training_dataset: Dataset, by: str) -> None:
    first, again, other = (split(training_dataset, 0.1, by=by, seed=seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_smallest_formula_if_none_fits(small_dataset: Dataset) -> None:
    two = small_dataset.subset(np.isin(small_dataset.formulas, ["H2O", "CH4"]))
    sizes = {name: int((two.formulas == name).sum()) for name in ("H2O", "CH4")}
    uneven = two.subset(np.append(np.arange(len(two)), np.flatnonzero(two.formulas == "CH4")))
    assert min(sizes.values()) > 1
    _, validation = split(uneven, 0.01, by="formula")
    assert set(uneven.formulas[validation]) == {"H2O"}
    assert len(validation) == sizes["H2O"]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_fraction(small_dataset: Dataset, fraction: float) -> None:
    with pytest.raises(DataError, match=r"validation_fraction is .*; expected 0 < value < 1"):
        split(small_dataset, fraction)


def test_too_few(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="at least 2 configurations, found 1"):
        split(small_dataset.subset([0]), 0.5)
    one_formula = small_dataset.subset(small_dataset.formulas == "H2O")
    with pytest.raises(DataError, match=r"at least 2 formulas, found only H2O.*'configuration'"):
        split(one_formula, 0.5, by="formula")


def test_unknown_way(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="cannot split by 'molecule'; expected 'configuration' or"):
        split(small_dataset, 0.1, by="molecule")


@pytest.mark.parametrize("by", ["configuration", "formula"])
def test_folds_are_parts_of_about_one_size(training_dataset: Dataset, by: str) -> None:
    indices = split(training_dataset, 0.1, by=by)[0]
    parts = folds(training_dataset, indices, 4, by=by)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), indices)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= (1 if by == "configuration" else max(sizes) / 2)
    if by == "formula":
        seen = [set(training_dataset.formulas[part]) for part in parts]
        assert sum(map(len, seen)) == len(set.union(*seen))
    other = folds(training_dataset, indices, 4, by=by, seed=1)
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(parts, other, strict=True))


def test_too_many_folds(small_dataset: Dataset) -> None:
    indices = np.arange(5)
    with pytest.raises(DataError, match="5 configurations cannot be divided into 6 folds"):
        folds(small_dataset, indices, 6)
    with pytest.raises(DataError, match=r"formulas cannot be divided into 6 folds; expected 2 to"):
        folds(small_dataset, indices, 6, by="formula")
