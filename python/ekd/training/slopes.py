"""Derivatives of the energy of each configuration with respect to each weight, for a batch at once.

A backward pass gives the derivative of the sum over a batch. One pass per configuration would be
dominated by the overhead of many small operations. However, for a linear map ``y = W x``

    dE_c / dW = sum over the atoms a of c of  (dE_c / dy_a) x_a^T,

and each atom belongs to only one configuration. One backward pass for the sum of all energies
therefore gives all ``dE / dy_a``, and their products with the inputs, kept in the forward pass, are
summed per configuration (Goodfellow, arXiv:1510.01799). For weights other than matrices, each row
gets a copy of the weight, whose derivatives are summed in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ekd.models import HIPNN, reference_ops
from ekd.models.interaction import AtomLayer, Interaction, InteractionBlock
from ekd.training.batches import Batch


def energy_slopes(network: HIPNN, batch: Batch) -> torch.Tensor:
    """Compute derivatives of the energies of a batch with respect to all network parameters.

    Args:
        network: network without an uncertainty head.
        batch: batch with any number of configurations.

    Returns:
        Derivatives, [n_configs, n_weights] eV, in the order of ``network.parameters()``.
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
    """Assignment of rows to configurations, and their places in a padded array.

    Attributes:
        config: configuration of each row, int64 [n_rows].
        place: place of each row in an array with ``n_places`` rows per configuration, int64
            [n_rows].
        n_configs: number of configurations.
        n_places: number of rows per configuration in that array.
    """

    config: torch.Tensor
    place: torch.Tensor
    n_configs: int
    n_places: int

    @classmethod
    def of(cls, batch: Batch) -> _Rows:
        """Make it with one row per atom."""
        config = batch.config_index
        counts = torch.bincount(config, minlength=batch.n_configs)
        first = counts.cumsum(0) - counts
        most = int(counts.max())
        within = torch.arange(len(config), device=config.device) - first[config]
        return cls(config, config * most + within, batch.n_configs, most)

    def times(self, n: int) -> _Rows:
        """Replace each row by ``n`` consecutive rows."""
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
    """Forward pass of a network that keeps the data needed for the derivatives.

    It is equivalent to :meth:`ekd.models.HIPNN.forward`, but uses plain operations where native
    ones do not expose the weights.
    """

    def __init__(self, batch: Batch, rows: _Rows) -> None:
        self.batch = batch
        self.rows = rows
        # Tensors to differentiate with respect to, and the data to convert their gradients.
        self._outputs: list[tuple[torch.Tensor, torch.nn.Linear, torch.Tensor, _Rows]] = []
        self._copies: list[tuple[torch.Tensor, torch.nn.Parameter, _Rows]] = []

    def linear(self, layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        """Apply a linear map to rows of atoms, with any number of rows per atom."""
        found: torch.Tensor = layer(inputs)
        n_rows = len(inputs) // self.batch.n_atoms
        rows = self.rows if n_rows == 1 else self.rows.times(n_rows)
        self._outputs.append((found, layer, inputs.detach(), rows))
        return found

    def copies(self, parameter: torch.nn.Parameter, rows: _Rows) -> torch.Tensor:
        """Return one copy of a parameter for each row, [n_rows, ...]."""
        shape = (len(rows.config), *parameter.shape)
        found = parameter.detach().expand(shape).clone().requires_grad_()
        self._copies.append((found, parameter, rows))
        return found

    def block(self, block: InteractionBlock, features: torch.Tensor) -> torch.Tensor:
        """Compute features after an interaction and its atom layers, [n_atoms, n_features]."""
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
        pairs = _Rows(of_pairs, of_pairs, self.rows.n_configs, 0)  # places unused: only summed
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
        """Return the derivatives of the energies by parameter, [n_configs, *shape]."""
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
