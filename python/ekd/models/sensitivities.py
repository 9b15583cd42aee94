"""What a pair tells its centre: radial sensitivities and the tensors of its direction."""

import math

import torch


class Sensitivities(torch.nn.Module):
    """Radial functions ``s_v(r) = exp(-(1/r - 1/mu_v)^2 sigma_v^2 / 2) cos^2(pi r / 2R)``, r < R.

    Lubbers, Smith and Barros, J. Chem. Phys. 148, 241715 (2018). ``mu`` and ``sigma`` are
    learned; at first 1/mu is evenly spaced between 1/soft_max and 1/soft_min, and sigma is
    2 n soft_min. Value and slope vanish at the cutoff.

    Args:
        n_sensitivities: number of functions.
        soft_min: smallest mu (Å).
        soft_max: largest mu (Å).
        cutoff: R (Å).
    """

    cutoff: float

    def __init__(self, n_sensitivities: int, soft_min: float, soft_max: float, cutoff: float):
        super().__init__()
        self.cutoff = cutoff
        inverse = torch.linspace(1 / soft_max, 1 / soft_min, n_sensitivities)
        self.mu = torch.nn.Parameter(1 / inverse)
        self.sigma = torch.nn.Parameter(torch.full_like(inverse, 2 * n_sensitivities * soft_min))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """[n_pairs] Å -> [n_pairs, n_sensitivities]."""
        r = distances.unsqueeze(1)
        exponent = ((r.reciprocal() - self.mu.reciprocal()) * self.sigma).square()
        envelope = torch.cos(r * (0.5 * math.pi / self.cutoff)).square() * (r < self.cutoff)
        return torch.exp(-0.5 * exponent) * envelope


def n_components(l_max: int) -> int:
    """Components of all tensors up to rank ``l_max``: 1 + 3 + 5 + ... = (l_max + 1)^2."""
    return (l_max + 1) ** 2


def direction_tensors(directions: torch.Tensor, l_max: int) -> torch.Tensor:
    """Irreducible tensors of unit vectors, rank after rank.

    Rank 0 is 1; rank 1 is x, y, z; rank 2 is the traceless symmetric product, of which the five
    components xx, xy, xz, yy, yz are kept (zz = -xx - yy).

    Args:
        directions: unit vectors, [n_pairs, 3].
        l_max: highest rank, 0 to 2.

    Returns:
        [n_pairs, (l_max + 1)^2].
    """
    parts = [torch.ones_like(directions[:, :1])]
    if l_max >= 1:
        parts.append(directions)
    if l_max >= 2:
        x, y, z = directions.unbind(1)
        rank2 = [x * x - 1 / 3, x * y, x * z, y * y - 1 / 3, y * z]
        parts.append(torch.stack(rank2, dim=1))
    return torch.cat(parts, dim=1)
