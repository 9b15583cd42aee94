"""Floating-point operations of one energy and its forces, counted from the architecture.

The order that is counted is messages first, the mixing V after; additions and multiplications of
the sums over features, as numbers per atom. C = (l_max + 1)² tensor components, ν sensitivities, n
neighbours (directed pairs per atom), F features going into an interaction, F' coming out, S
elements.

Later interactions:

    weights w = s ⊗ Y           n·C·ν           and 4·n·C·ν back: dE/ds and dE/dY from dE/dw
    messages m = Σ w z          2·n·C·ν·F
    its derivatives             2·n·C·ν·F each, by w and by z
    mixing V m                  2·C·ν·F·F'      and as much back, dE/dm = Vᵀ dE/d(Vm)

The first interaction sees species alone: features are one-hot, so that a message is a sum of
weights per species (n·C·ν), its derivative by w a look-up, there is none by z, and V has C·ν·S
columns; `W z` and the linear map without bias are look-ups too.

After every interaction, forward and as much back: `W z` (later ones, 2·F·F'), the outer map of
the residual and two maps in each atom layer (2·F'² each), and the energy (2·F').

Left out: sensitivities and directions (some hundred operations per pair and n·ν exponentials),
softplus, norms. They are work that a kernel does beyond what is counted here, so a fraction of the
machine's rate that is reckoned with this count is on the low side.
"""

from __future__ import annotations

from ekd.config import HIPNNConfig


def interaction(
    config: HIPNNConfig, neighbors: float, width_in: int, first: bool
) -> dict[str, float]:
    """Operations per atom of one interaction, forward and backward, by part.

    Args:
        config: architecture.
        neighbors: directed pairs per atom.
        width_in: features that go in; for the first interaction the number of elements.
        first: whether these are one-hot species.
    """
    terms = (config.l_max + 1) ** 2 * config.n_sensitivities
    mixing = 2.0 * 2 * terms * width_in * config.n_features
    weights = 5.0 * neighbors * terms
    if first:
        return {"weights": weights, "messages": neighbors * terms, "mixing": mixing}
    return {
        "weights": weights,
        "messages": 3 * 2.0 * neighbors * terms * width_in,
        "mixing": mixing,
        "center": 2 * 2.0 * width_in * config.n_features,
    }


def atom_layers(config: HIPNNConfig) -> float:
    """Operations per atom of the maps after one interaction, forward and backward."""
    width = config.n_features
    maps = 1 + 2 * config.n_atom_layers  # outer map of the interaction; inner and outer of each
    return 2 * (2.0 * maps * width**2 + 2.0 * width)


def per_atom(config: HIPNNConfig, neighbors: float, n_elements: int) -> float:
    """Operations per atom of energy and forces."""
    total = sum(interaction(config, neighbors, n_elements, first=True).values())
    later = interaction(config, neighbors, config.n_features, first=False)
    total += (config.n_interactions - 1) * sum(later.values())
    return total + config.n_interactions * atom_layers(config)
