from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ekd.config import HIPNNConfig
from suite.cases import cases, large
from suite.flops import atom_layers, interaction, per_atom

N_ATOMS, N_NEIGHBORS = 5, 7


@pytest.fixture
def config() -> HIPNNConfig:
    """All widths differ, so a confusion of widths changes the result."""
    return HIPNNConfig(l_max=1, n_interactions=2, n_atom_layers=3, n_features=6, n_sensitivities=4)


def test_later_interaction_is_what_torch_counts(config: HIPNNConfig) -> None:
    """The same products in torch: messages first, then forward and backward pass."""
    terms, width = 4 * config.n_sensitivities, config.n_features
    weights = torch.rand(N_ATOMS, terms, N_NEIGHBORS, requires_grad=True)
    features = torch.rand(N_ATOMS, N_NEIGHBORS, width, requires_grad=True)
    center = torch.rand(N_ATOMS, width, requires_grad=True)
    mixing = torch.rand(config.n_sensitivities * width, width)
    own = torch.rand(width, width)
    with FlopCounterMode(display=False) as counter:
        messages = torch.bmm(weights, features).reshape(N_ATOMS * 4, -1)
        ((messages @ mixing).sum() + (center @ own).sum()).backward()
    parts = interaction(config, N_NEIGHBORS, width, first=False)
    found = parts["messages"] + parts["mixing"] + parts["center"]
    assert N_ATOMS * found == counter.get_total_flops()


def test_atom_layers_are_what_torch_counts(config: HIPNNConfig) -> None:
    width = config.n_features
    maps = [torch.rand(width, width) for _ in range(1 + 2 * config.n_atom_layers)]
    energy = torch.rand(width, 1)
    features = torch.rand(N_ATOMS, width, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        hidden = features
        for matrix in maps:
            hidden = hidden @ matrix
        (hidden @ energy).sum().backward()
    assert N_ATOMS * atom_layers(config) == counter.get_total_flops()


def test_first_interaction_costs_less_than_a_later_one(config: HIPNNConfig) -> None:
    first = interaction(config, N_NEIGHBORS, 4, first=True)
    terms = 4 * config.n_sensitivities
    assert first["messages"] == N_NEIGHBORS * terms  # one addition for each weight
    assert first["mixing"] == 4 * terms * 4 * config.n_features
    assert "center" not in first


def test_total_of_published_architecture() -> None:
    """12 MFLOP for a later interaction with 108 neighbors, by hand: 3 x 2.2 + 2 x 2.6."""
    later = sum(interaction(large(2), 108, 128, first=False).values())
    assert later == pytest.approx(12e6, rel=0.02)
    once, twice = (per_atom(large(n), 108, 4) for n in (1, 2))
    assert twice - once == pytest.approx(later + atom_layers(large(2)))


def test_cases_are_those_of_the_docs() -> None:
    found = cases()
    assert [case.config.n_interactions for case in found.values()] == [1, 1, 2]
    small = found["32 features, 1 interaction"].config
    assert (small.n_features, small.n_sensitivities, small.n_atom_layers) == (32, 16, 1)
    assert small.cutoff == 5.5
