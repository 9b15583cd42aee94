"""Reference implementations of the native operations ``torch.ops.ekd.*`` in plain torch.

Three of them are the partial derivatives of one trilinear form over directed pairs p = (i, j),

    L = sum_p sum_kf  G[i, k, f]  w[p, k]  z[j, f],

with respect to G, w and z. The family is closed: derivatives of any order are again members. The
others are the remaining operations of a network; their native forms have first and second
derivatives, as required for training on forces.

The reference implementations are short and slow: they store pairs x K x F numbers. The native
kernels are tested against them.
"""

import math

import torch
from torch.nn.functional import linear, softplus


def pair_weights(
    pair_vectors: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor, cutoff: float, l_max: int
) -> torch.Tensor:
    """Compute the weights of pairs: radial sensitivities times tensors of the direction.

    ``s_v(r) = exp(-(1/r - 1/mu_v)^2 sigma_v^2 / 2) cos^2(pi r / 2R)`` for r < R: Lubbers, Smith
    and Barros, J. Chem. Phys. 148, 241715 (2018). For the tensors see :func:`direction_tensors`.

    Args:
        pair_vectors: vectors from center to neighbor, [n_pairs, 3] Å.
        mu: distances of the sensitivities, [n_sensitivities] Å.
        sigma: inverse widths of the sensitivities in 1/r, [n_sensitivities] Å.
        cutoff: cutoff radius R, Å.
        l_max: highest rank of the tensors, 0 to 2.

    Returns:
        Weights, [n_pairs, components * n_sensitivities], sensitivities last.
    """
    distances = pair_vectors.square().sum(1).sqrt().unsqueeze(1)
    exponent = ((distances.reciprocal() - mu.reciprocal()) * sigma).square()
    envelope = torch.cos(distances * (0.5 * math.pi / cutoff)).square() * (distances < cutoff)
    radial = torch.exp(-0.5 * exponent) * envelope
    tensors = direction_tensors(pair_vectors / distances, l_max)
    return (tensors.unsqueeze(2) * radial.unsqueeze(1)).flatten(1)


def direction_tensors(directions: torch.Tensor, l_max: int) -> torch.Tensor:
    """Compute irreducible tensors of unit vectors, ordered by rank.

    Rank 0 is 1; rank 1 is x, y, z; rank 2 is the traceless symmetric product, of which the five
    components xx, xy, xz, yy, yz are stored (zz = -xx - yy).

    Args:
        directions: unit vectors, [n_pairs, 3].
        l_max: highest rank, 0 to 2.

    Returns:
        Tensor components, [n_pairs, (l_max + 1)^2].
    """
    parts = [torch.ones_like(directions[:, :1])]
    if l_max >= 1:
        parts.append(directions)
    if l_max >= 2:
        x, y, z = directions.unbind(1)
        rank2 = [x * x - 1 / 3, x * y, x * z, y * y - 1 / 3, y * z]
        parts.append(torch.stack(rank2, dim=1))
    return torch.cat(parts, dim=1)


def invariants(
    mixed: torch.Tensor, scales: torch.Tensor, base: torch.Tensor, cusp: float
) -> torch.Tensor:
    """Compute pre-activations: ``base + m_0 + sum_l scales_l sqrt(|m_l|^2 + cusp)``.

    The root is smooth where a tensor vanishes. Chigaev et al., J. Chem. Phys. 158, 184108 (2023).

    Args:
        mixed: tensors m of the atoms, [n_atoms, components, n_features].
        scales: weights of the norms, [l_max, n_features].
        base: values to add, [n_atoms, n_features].
        cusp: constant added under the root.

    Returns:
        Pre-activations, [n_atoms, n_features].
    """
    result = base + mixed[:, 0]
    if mixed.size(1) >= 4:
        result = result + scales[0] * (mixed[:, 1:4].square().sum(1) + cusp).sqrt()
    if mixed.size(1) >= 9:
        # Square of the full 3 x 3 tensor, with zz = -xx - yy.
        rank2 = mixed[:, 4:9]
        square = 2 * (rank2.square().sum(1) + rank2[:, 0] * rank2[:, 3])
        result = result + scales[1] * (square + cusp).sqrt()
    return result


def atom_layers(
    inner: torch.Tensor, base: torch.Tensor, weights: list[torch.Tensor]
) -> torch.Tensor:
    """Evaluate residual atom layers.

    ``x = base + B_0 softplus(inner) + b_0``, and then ``x = x + B_k softplus(A_k x + c_k) + b_k``
    for each further layer.

    Args:
        inner: pre-activations of the first layer, [n_atoms, n_features].
        base: values that the first layer is added to, [n_atoms, n_features].
        weights: B_0, b_0, A_1, c_1, B_1, b_1, A_2, ...; matrices [n_features, n_features]
            alternating with biases [n_features].

    Returns:
        Features, [n_atoms, n_features].
    """
    x = base + linear(softplus(inner), weights[0], weights[1])
    for k in range(2, len(weights), 4):
        hidden = softplus(linear(x, weights[k], weights[k + 1]))
        x = x + linear(hidden, weights[k + 2], weights[k + 3])
    return x


def message(w: torch.Tensor, z: torch.Tensor, pairs: torch.Tensor, n_centers: int) -> torch.Tensor:
    """Sum the messages of the neighbors: ``m[i, k, f] = sum_(p of i) w[p, k] z[j(p), f]``.

    Args:
        w: weights of the pairs, [n_pairs, K].
        z: features of the neighbors, [n_neighbors, F].
        pairs: center i (row 0) and neighbor j (row 1), int64 [2, n_pairs].
        n_centers: number of centers; ``pairs[0] < n_centers``.

    Returns:
        Messages, [n_centers, K, F].
    """
    products = w.unsqueeze(2) * z.index_select(0, pairs[1]).unsqueeze(1)
    zeros = torch.zeros(
        [n_centers, w.size(1), z.size(1)], dtype=products.dtype, device=products.device
    )
    return zeros.index_add(0, pairs[0], products)


def message_weight(g: torch.Tensor, z: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Derivative with respect to the weights: ``[p, k] = sum_f g[i(p), k, f] z[j(p), f]``.

    Args:
        g: gradient of the messages, [n_centers, K, F].
        z: features of the neighbors, [n_neighbors, F].
        pairs: centers and neighbors, int64 [2, n_pairs].

    Returns:
        Gradient of the weights, [n_pairs, K].
    """
    neighbors = z.index_select(0, pairs[1]).unsqueeze(2)
    return torch.bmm(g.index_select(0, pairs[0]), neighbors).squeeze(2)


def message_feature(
    g: torch.Tensor, w: torch.Tensor, pairs: torch.Tensor, n_neighbors: int
) -> torch.Tensor:
    """Derivative with respect to the features: ``[j, f] = sum_(p to j) sum_k g[i, k, f] w[p, k]``.

    Args:
        g: gradient of the messages, [n_centers, K, F].
        w: weights of the pairs, [n_pairs, K].
        pairs: centers and neighbors, int64 [2, n_pairs].
        n_neighbors: number of neighbors; ``pairs[1] < n_neighbors``.

    Returns:
        Gradient of the features, [n_neighbors, F].
    """
    products = torch.bmm(w.unsqueeze(1), g.index_select(0, pairs[0])).squeeze(1)
    zeros = torch.zeros([n_neighbors, g.size(2)], dtype=products.dtype, device=products.device)
    return zeros.index_add(0, pairs[1], products)


def padded_message(
    w: torch.Tensor, z: torch.Tensor, pairs: torch.Tensor, n_centers: int
) -> torch.Tensor:
    """Like :func:`message`, for pairs sorted by center: one matrix product per center.

    All centers get as many slots as the one with the most neighbors, padded with zeros. This is a
    batched product, fast on a GPU, which stores slots x (K + F) numbers. It is used in portable
    exports.
    """
    centers = pairs[0]
    counts = torch.zeros([n_centers], dtype=torch.int64, device=w.device)
    counts = counts.index_add(0, centers, torch.ones_like(centers))
    n_slots = int(counts.max().item()) if n_centers > 0 else 0
    first = counts.cumsum(0) - counts
    order = torch.arange(centers.size(0), device=w.device)
    slots = centers * n_slots + order - first.index_select(0, centers)
    size = n_centers * n_slots
    weights = torch.zeros([size, w.size(1)], dtype=w.dtype, device=w.device)
    features = torch.zeros([size, z.size(1)], dtype=z.dtype, device=z.device)
    weights = weights.index_copy(0, slots, w).view(n_centers, n_slots, w.size(1))
    features = features.index_copy(0, slots, z.index_select(0, pairs[1]))
    return torch.bmm(weights.transpose(1, 2), features.view(n_centers, n_slots, z.size(1)))
