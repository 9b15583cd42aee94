"""Screened nuclear repulsion (ZBL) at short distances, where there are no data."""

from collections.abc import Sequence

import torch
from ase.data import covalent_radii

from ekd.models.buffers import Float64Buffers

COULOMB = 14.399645478425668
"""e^2 / (4 pi epsilon_0) in eV Å (CODATA 2018)."""

# Universal screening function: Ziegler, Biersack and Littmark, The Stopping and Range of Ions in
# Matter, vol. 1 (Pergamon, 1985), with the constants of `pair_style zbl` in the LAMMPS manual.
_COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
_DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
_LENGTH = 0.46850
_POWER = 0.23


class ZBL(Float64Buffers):
    """``V(r) = e^2 Z_i Z_j / (4 pi eps_0 r) phi(r / a) u(r / r_s)``, half of it for each atom.

    ``a = 0.4685 Å / (Z_i^0.23 + Z_j^0.23)``. With the envelope ``u(x) = 1 - 28 x^6 + 48 x^7 - 21
    x^8`` (Gasteiger, Groß and Günnemann, arXiv:2003.03123, with p = 6), value, slope and curvature
    are zero at ``r_s``, the sum of the covalent radii (Cordero et al., Dalton Trans. 2832 (2008))
    or the cutoff, whichever is shorter. Chemical bonds near their equilibrium lengths are therefore
    hardly affected.

    Args:
        elements: atomic numbers, in the order of the species.
        cutoff: cutoff radius of the pair list, Å.
    """

    strength: torch.Tensor
    inverse_length: torch.Tensor
    range: torch.Tensor
    coefficients: torch.Tensor
    decays: torch.Tensor

    def __init__(self, elements: Sequence[int], cutoff: float):
        super().__init__()
        charges = torch.tensor(elements, dtype=torch.float64)
        radii = torch.tensor([covalent_radii[z] for z in elements], dtype=torch.float64)
        powers = charges**_POWER
        # One row per ordered pair of species; not saved, because they follow from the elements.
        tables = {
            "strength": COULOMB * charges[:, None] * charges[None, :],
            "inverse_length": (powers[:, None] + powers[None, :]) / _LENGTH,
            "range": (radii[:, None] + radii[None, :]).clamp(max=cutoff),
            "coefficients": torch.tensor(_COEFFICIENTS, dtype=torch.float64),
            "decays": torch.tensor(_DECAYS, dtype=torch.float64),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> torch.Tensor:
        """Compute the energies of the centers.

        Args:
            species: species of the atoms, int64 [n_all].
            pairs: full list of pairs, int64 [2, n_pairs].
            pair_vectors: vectors from center to neighbor, [n_pairs, 3] Å.
            n_local: number of centers.

        Returns:
            Energies, float64 [n_local] eV.
        """
        kind = species.index_select(0, pairs[0]) * self.range.size(0)
        kind = kind + species.index_select(0, pairs[1])
        r = pair_vectors.double().square().sum(1).sqrt()
        x = r / self.range.flatten()[kind]
        near = torch.nonzero(x < 1).squeeze(1)
        x, r, kind = x[near], r[near], kind[near]
        scaled = r * self.inverse_length.flatten()[kind]
        screening = torch.exp(-scaled.unsqueeze(1) * self.decays) @ self.coefficients
        envelope = 1 - x**6 * (28 - x * (48 - 21 * x))
        energies = 0.5 * self.strength.flatten()[kind] / r * screening * envelope
        zeros = torch.zeros([n_local], dtype=torch.float64, device=energies.device)
        return zeros.index_add(0, pairs[0][near], energies)
