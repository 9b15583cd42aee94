"""Radial sensitivity functions."""

import torch


class Sensitivities(torch.nn.Module):
    """The parameters of the radial functions of :func:`ekd.models.reference_ops.pair_weights`.

    Lubbers, Smith and Barros, J. Chem. Phys. 148, 241715 (2018). ``mu`` and ``sigma`` are
    trainable; initially 1/mu is evenly spaced between 1/soft_max and 1/soft_min, and sigma is
    2 n soft_min.

    Args:
        n_sensitivities: number of functions.
        soft_min: smallest initial mu, Å.
        soft_max: largest initial mu, Å.
    """

    def __init__(self, n_sensitivities: int, soft_min: float, soft_max: float):
        super().__init__()
        inverse = torch.linspace(1 / soft_max, 1 / soft_min, n_sensitivities)
        self.mu = torch.nn.Parameter(1 / inverse)
        self.sigma = torch.nn.Parameter(torch.full_like(inverse, 2 * n_sensitivities * soft_min))
