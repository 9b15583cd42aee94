"""Pure-torch twins of the native operations ``torch.ops.ekd.*``.

The three operations are the partial derivatives of one trilinear form over directed pairs
p = (i, j),

    L = sum_p sum_kf  G[i, k, f]  w[p, k]  z[j, f],

with respect to G, w and z. The family is closed: every derivative of a member, of any order, is
again a member. The twins are short and slow: they store pairs x K x F numbers. They are the
reference that the native kernels are tested against.
"""

import torch


def message(w: torch.Tensor, z: torch.Tensor, pairs: torch.Tensor, n_centers: int) -> torch.Tensor:
    """Sum the messages of the neighbours: ``m[i, k, f] = sum_(p of i) w[p, k] z[j(p), f]``.

    Args:
        w: weights of the pairs, [n_pairs, K].
        z: features of the neighbours, [n_neighbors, F].
        pairs: centre i (row 0) and neighbour j (row 1), int64 [2, n_pairs].
        n_centers: number of centres; ``pairs[0] < n_centers``.

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
        z: features of the neighbours, [n_neighbors, F].
        pairs: int64 [2, n_pairs].

    Returns:
        [n_pairs, K].
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
        pairs: int64 [2, n_pairs].
        n_neighbors: number of neighbours; ``pairs[1] < n_neighbors``.

    Returns:
        [n_neighbors, F].
    """
    products = torch.bmm(w.unsqueeze(1), g.index_select(0, pairs[0])).squeeze(1)
    zeros = torch.zeros([n_neighbors, g.size(2)], dtype=products.dtype, device=products.device)
    return zeros.index_add(0, pairs[1], products)


def padded_message(
    w: torch.Tensor, z: torch.Tensor, pairs: torch.Tensor, n_centers: int
) -> torch.Tensor:
    """As :func:`message`, for pairs sorted by centre: one matrix product per centre.

    Every centre gets as many slots as the one with most neighbours, empty ones filled with zeros:
    a batch of products, fast on a GPU, that stores slots x (K + F) numbers. What a portable export
    contains.
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
