"""MP2/cc-pVDZ energies and forces of closed-shell molecules: a calculator of ASE, by PySCF.

In a configuration beside this file, ``calculator = "mp2:MP2"`` in ``[pool.calculator]``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Hartree
from pyscf import gto, lib, mp, scf


class MP2(Calculator):
    """Second-order perturbation theory on restricted Hartree-Fock, core orbitals frozen.

    Args:
        basis: a basis set that PySCF knows.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, basis: str = "cc-pvdz", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.basis = basis
        lib.num_threads(1)  # a pool has one process per core

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Calculate energy (eV) and forces (eV/Å) together."""
        super().calculate(atoms, properties, system_changes)
        molecule = gto.M(
            atom=list(zip(self.atoms.get_chemical_symbols(), self.atoms.positions, strict=True)),
            basis=self.basis,
            verbose=0,
        )
        field = scf.RHF(molecule).run(conv_tol=1e-10)
        if not field.converged:
            raise CalculationFailed("Hartree-Fock did not converge")
        frozen = int((self.atoms.numbers > 2).sum())  # one core orbital of C, N and O each
        method = mp.MP2(field, frozen=frozen).run()
        gradient = method.nuc_grad_method().kernel()
        self.results = {"energy": method.e_tot * Hartree, "forces": -gradient * Hartree / Bohr}
