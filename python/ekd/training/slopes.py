"""Slopes of the energy of every configuration by every weight, for a batch at once.

Differentiating backward gives the sum of a batch, or else takes one configuration at a time, and
then its many small operations cost more than their arithmetic. But a linear map ``y = W x`` has

    dE_c / dW = sum over the atoms a of c of  (dE_c / dy_a) x_a^T,

and an atom is of one configuration alone: one pass backward for the sum of all energies gives every
``dE / dy_a``, and the products with the inputs, which are kept on the way forward, are summed
configuration by configuration (Goodfellow, arXiv:1510.01799). Weights that are no matrix have a
copy for every row that they act on, whose slopes are summed likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ekd.models import HIPNN, reference_ops
from ekd.models.interaction import AtomLayer, Interaction, InteractionBlock
from ekd.training.batches import Batch


def energy_slopes(network: HIPNN, batch: Batch) -> torch.Tensor:
    """Derivatives of the energies of a batch by all parameters of a network.

    Args:
        network: without a head for the uncertainty, which the energy does not depend on.
        batch: of any number of configurations.

    Returns:
        [n_configs, n_weights] eV, weights in the order of ``network.parameters()``.
    """
    rows = _Rows.of(batch)
    passed = _Pass(batch, rows)
    features, total = network.embed(batch.species), torch.zeros((), dtype=torch.float64)
    for block in network.blocks:
        assert isinstance(block, InteractionBlock)
        features = passed.block(block, features)
        total = total + passed.linear(block.energy, features).double().sum()
    slopes = passed.slopes(total)
    return torch.cat([slopes[parameter].flatten(1) for parameter in network.parameters()], dim=1)


@dataclass(frozen=True)
class _Rows:
    """Which configuration a row belongs to, and which of its rows it is.

    Attributes:
        config: int64 [n_rows].
        place: int64 [n_rows], in an array of as many rows for every configuration.
        n_configs: configurations.
        n_places: rows of each in that array.
    """

    config: torch.Tensor
    place: torch.Tensor
    n_configs: int
    n_places: int

    @classmethod
    def of(cls, batch: Batch) -> _Rows:
        """One row per atom."""
        config = batch.config_index
        counts = torch.bincount(config, minlength=batch.n_configs)
        first = counts.cumsum(0) - counts
        most = int(counts.max())
        within = torch.arange(len(config), device=config.device) - first[config]
        return cls(config, config * most + within, batch.n_configs, most)

    def times(self, n: int) -> _Rows:
        """With ``n`` rows in the place of each, one after the other."""
        parts = torch.arange(n, device=self.place.device)
        place = (n * self.place[:, None] + parts).flatten()
        return _Rows(self.config.repeat_interleave(n), place, self.n_configs, n * self.n_places)

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Sum rows by configuration: [n_rows, ...] to [n_configs, ...]."""
        zeros = values.new_zeros(self.n_configs, *values.shape[1:])
        return zeros.index_add(0, self.config, values)

    def products(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Outer products of rows, summed by configuration: [n_configs, n_left, n_right]."""
        return torch.bmm(self._padded(left).transpose(1, 2), self._padded(right))

    def _padded(self, values: torch.Tensor) -> torch.Tensor:
        zeros = values.new_zeros(self.n_configs * self.n_places, values.shape[1])
        return zeros.index_copy(0, self.place, values).view(self.n_configs, self.n_places, -1)


class _Pass:
    """A network on its way forward, which keeps what slopes are made of.

    It does what :meth:`ekd.models.HIPNN.forward` does, with plain operations where weights of a
    native one would be out of reach.
    """

    def __init__(self, batch: Batch, rows: _Rows) -> None:
        self.batch = batch
        self.rows = rows
        # Tensors to differentiate by, and what becomes of their gradients.
        self._outputs: list[tuple[torch.Tensor, torch.nn.Linear, torch.Tensor, _Rows]] = []
        self._copies: list[tuple[torch.Tensor, torch.nn.Parameter, _Rows]] = []

    def linear(self, layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        """Apply a linear map to rows of atoms, as many of each atom as there are."""
        found: torch.Tensor = layer(inputs)
        n_rows = len(inputs) // self.batch.n_atoms
        rows = self.rows if n_rows == 1 else self.rows.times(n_rows)
        self._outputs.append((found, layer, inputs.detach(), rows))
        return found

    def copies(self, parameter: torch.nn.Parameter, rows: _Rows) -> torch.Tensor:
        """One copy of a parameter for every row, [n_rows, ...]."""
        shape = (len(rows.config), *parameter.shape)
        found = parameter.detach().expand(shape).clone().requires_grad_()
        self._copies.append((found, parameter, rows))
        return found

    def block(self, block: InteractionBlock, features: torch.Tensor) -> torch.Tensor:
        """Features after an interaction and its atom layers, [n_atoms, n_features]."""
        inner = self._interaction(block.interaction, features)
        skip = block.skip
        base = self.linear(skip, features) if isinstance(skip, torch.nn.Linear) else features
        softplus = torch.nn.functional.softplus
        features = base + self.linear(block.outer, softplus(inner))
        for layer in block.atom_layers:
            assert isinstance(layer, AtomLayer)
            hidden = softplus(self.linear(layer.inner, features))
            features = features + self.linear(layer.outer, hidden)
        return features

    def _interaction(self, interaction: Interaction, features: torch.Tensor) -> torch.Tensor:
        batch, n_atoms = self.batch, self.batch.n_atoms
        of_pairs = self.rows.config[batch.pairs[0]]
        pairs = _Rows(of_pairs, of_pairs, self.rows.n_configs, 0)  # no place: only summed
        weights = reference_ops.pair_weights(
            batch.pair_vectors.to(features.dtype),
            self.copies(interaction.sensitivities.mu, pairs),
            self.copies(interaction.sensitivities.sigma, pairs),
            interaction.cutoff,
            interaction.l_max,
        )
        messages = torch.ops.ekd.message(weights, features, batch.pairs, n_atoms)
        n_rows = n_atoms * interaction.n_components
        mixed = self.linear(interaction.neighbors, messages.reshape(n_rows, -1))
        own = self.linear(interaction.center, features)
        scales = self.copies(interaction.tensor_scales, self.rows).transpose(0, 1)
        mixed = mixed.reshape(n_atoms, interaction.n_components, -1)
        return reference_ops.invariants(mixed, scales, own, interaction.cusp)

    def slopes(self, total: torch.Tensor) -> dict[torch.Tensor, torch.Tensor]:
        """Of the sum of all energies: by parameter, [n_configs, *shape]."""
        kept = [output[0] for output in self._outputs] + [copy[0] for copy in self._copies]
        # With l_max = 0 there are no tensors to scale.
        gradients = torch.autograd.grad(total, kept, materialize_grads=True)
        found: dict[torch.Tensor, torch.Tensor] = {}
        for gradient, (_, layer, inputs, rows) in zip(
            gradients[: len(self._outputs)], self._outputs, strict=True
        ):
            found[layer.weight] = rows.products(gradient, inputs)
            if layer.bias is not None:
                found[layer.bias] = rows.sums(gradient)
        for gradient, (_, parameter, rows) in zip(
            gradients[len(self._outputs) :], self._copies, strict=True
        ):
            found[parameter] = rows.sums(gradient)
        return found
