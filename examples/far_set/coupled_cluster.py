"""CCSD(T) energies and analytic forces of closed-shell molecules, with PySCF.

PySCF 2.14 contracts the triples of its multipliers and density matrices as arrays of six indices:
minutes and ten gigabytes for ethanol. Here one pass over triples of occupied orbitals makes all
that the gradient needs, in arrays of three indices; PySCF does the rest. The equations are those
of J. Chem. Phys. 94, 442 and 6219 (1991), spin-free, for canonical orbitals.

    python coupled_cluster.py        # compares with PySCF's own and with finite differences
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr
from numba import njit
from numpy.typing import NDArray
from pyscf import gto, scf
from pyscf.cc import ccsd, ccsd_lambda, ccsd_rdm
from pyscf.grad import ccsd as ccsd_gradient

BASIS = "cc-pvdz"
Array = NDArray[np.float64]


class NotConvergedError(Exception):
    """An equation of the method was not solved."""


def energy_and_forces(atoms: Atoms) -> tuple[float, Array, float]:
    """CCSD(T)/cc-pVDZ with a frozen core.

    Args:
        atoms: a neutral molecule or cluster in its singlet ground state.

    Returns:
        Energy in Hartree, forces in Hartree/Å of shape [n_atoms, 3], and the T1 diagnostic.

    Raises:
        NotConvergedError: Hartree-Fock, the amplitudes or the multipliers did not converge.
    """
    cc, eris = solve(atoms)
    triples = perturbative_triples(cc, eris)
    l1, l2 = multipliers(cc, eris, triples)
    energy = cc.e_tot + cc.ccsd_t(eris=eris)
    forces = -gradient(cc, eris, triples, l1, l2) / Bohr
    return float(energy), forces, float(cc.get_t1_diagnostic())


def energy(atoms: Atoms) -> float:
    """The energy alone, Hartree."""
    cc, eris = solve(atoms)
    return float(cc.e_tot + cc.ccsd_t(eris=eris))


def solve(atoms: Atoms) -> tuple[Any, Any]:
    """Hartree-Fock and CCSD; returns PySCF's object of the method and its integrals."""
    mol = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
        basis=BASIS,
        verbose=0,
        max_memory=8000,
    )
    reference = scf.RHF(mol)
    reference.conv_tol = 1e-11
    reference.kernel()
    if not reference.converged:
        raise NotConvergedError("Hartree-Fock")
    cc = ccsd.CCSD(reference, frozen=int((atoms.numbers > 2).sum()))
    cc.conv_tol, cc.conv_tol_normt, cc.max_cycle = 1e-9, 1e-6, 100
    eris = cc.ao2mo()
    cc.kernel(eris=eris)
    if not cc.converged:
        raise NotConvergedError("CCSD")
    return cc, eris


@dataclass
class Triples:
    """What the triples add: to the multipliers, and to the density matrices, by their blocks."""

    l1: Array
    l2: Array
    oo: Array
    vv: Array
    vo: Array
    ovov: Array
    ooov: Array
    ovvv: Array


def perturbative_triples(cc: Any, eris: Any) -> Triples:
    """One pass over all triples i, j, k of occupied orbitals.

    ``w`` are the connected triples and ``v`` the disconnected ones, [a, b, c], both over the
    difference of orbital energies. They are the same for every order of i, j, k, but for the order
    of their axes, so that each is made once.
    """
    t1, t2 = np.asarray(cc.t1), np.asarray(cc.t2)
    n_occ, n_vir = t1.shape
    square = n_vir * n_vir
    ovvv, ovoo, ovov = (np.asarray(x) for x in (eris.get_ovvv(), eris.ovoo, eris.ovov))
    ovvv_front = np.ascontiguousarray(ovvv.transpose(0, 1, 3, 2)).reshape(n_occ, square, n_vir)
    ovvv_sorted = np.ascontiguousarray(ovvv.transpose(0, 3, 1, 2))
    e_occ, e_vir = eris.mo_energy[:n_occ], eris.mo_energy[n_occ:]

    def connected(i: int, j: int, k: int) -> Array:
        found = (ovvv_front[i] @ t2[k, j].T).reshape(n_vir, n_vir, n_vir)  # a, b, c
        return found - np.tensordot(ovoo[i, :, j], t2[:, k], axes=(1, 0))

    o, v = n_occ, n_vir
    shapes = ((o, v), (o, o, v, v), (o, o), (v, v), (v, o), (o, v, o, v), (o, o, o, v))
    out = Triples(*(np.zeros(shape) for shape in (*shapes, (o, v, v, v))))
    kept: dict[tuple[int, int, int], tuple[Array, Array]] = {}
    for triple in itertools.combinations_with_replacement(range(n_occ), 3):
        parts = [connected(*(triple[n] for n in order)) for order in _ORDERS]
        first, second, third = triple
        w, z = _summed(
            *parts,
            *(ovov[first, :, second], ovov[first, :, third], ovov[second, :, third]),
            *(t1[first], t1[second], t1[third]),
            e_occ[list(triple)].sum(),
            e_vir,
        )
        wz, w2z = w + z, 2 * w + z
        rw, rz = _spin_summed(w, w2z)
        kept[triple] = wz, rw
        orders = {tuple(triple[n] for n in order): order for order in _ORDERS}
        for (i, j, k), order in orders.items():
            r, s, x, m = _in_order(*(a.transpose(order) for a in (rw, rz, wz, w2z)))
            out.l1[i] += r.reshape(v, square) @ ovov[j, :, k].reshape(square)
            out.l2[i, j] += m.reshape(v, square) @ ovvv_sorted[k].reshape(square, v)
            out.l2[i] -= (m.reshape(square, v) @ ovoo[k, :, j]).T.reshape(o, v, v)
            out.vv += x.reshape(v, square) @ r.reshape(v, square).T
            out.vo[:, k] += t2[i, j].reshape(square) @ r.reshape(square, v)
            out.ovov[i, :, j] += r @ t1[k]
            out.ooov[j, :, i] -= t2[:, k].reshape(o, square) @ s.reshape(v, square).T
            found = (s.reshape(square, v) @ t2[k, j]).reshape(v, v, v)
            out.ovvv[i] += found.transpose(0, 2, 1)
    for k, m in itertools.product(range(n_occ), repeat=2):
        both = [_ordered(kept, (i, k, m)) for i in range(n_occ)]
        left, right = (np.stack([pair[n].ravel() for pair in both]) for n in (0, 1))
        out.oo += left @ right.T
    e_ov = e_occ[:, None] - e_vir
    out.l1 *= 0.5 / e_ov
    out.l2 = (out.l2 + out.l2.transpose(1, 0, 3, 2)) / (e_ov[:, None, :, None] + e_ov[:, None])
    out.oo *= -0.5
    out.vv *= 0.5
    out.vo *= 0.5
    out.ovov *= 0.5
    return out


def multipliers(cc: Any, eris: Any, triples: Triples) -> tuple[Array, Array]:
    """Solve the equations of the multipliers, l1 [o, v] and l2 [o, o, v, v]."""

    def update(cc, t1, t2, l1, l2, eris=None, imds=None):  # type: ignore[no-untyped-def]
        l1, l2 = ccsd_lambda.update_lambda(cc, t1, t2, l1, l2, eris, imds)
        return l1 + triples.l1, l2 + triples.l2

    converged, l1, l2 = ccsd_lambda.kernel(
        cc, eris, cc.t1, cc.t2, max_cycle=100, tol=1e-6, verbose=0, fupdate=update
    )
    if not converged:
        raise NotConvergedError("the multipliers")
    return l1, l2


def gradient(cc: Any, eris: Any, triples: Triples, l1: Array, l2: Array) -> Array:
    """Derivative of the energy by the positions, Hartree/Bohr."""
    amplitudes = cc.t1, cc.t2, l1, l2
    oo, ov, vo, vv = ccsd_rdm._gamma1_intermediates(cc, *amplitudes)
    blocks = ccsd_rdm._gamma2_intermediates(cc, *amplitudes, compress_vvvv=True)
    ovov, vvvv, oooo, oovv, ovvo, _, ovvv, ooov = (np.asarray(block) for block in blocks)
    ovvv = ovvv + triples.ovvv
    density = (oo + triples.oo, ov, vo + triples.vo, vv + triples.vv)
    pair_density = (
        *(ovov + triples.ovov, vvvv, oooo, oovv, ovvo),
        *(ovvv.transpose(2, 3, 0, 1), ovvv, ooov + triples.ooov),
    )
    method = ccsd_gradient.Gradients(cc)
    electronic = ccsd_gradient.grad_elec(
        method, *amplitudes, eris, None, density, pair_density, verbose=0
    )
    return np.asarray(electronic + method.grad_nuc())


_ORDERS = list(itertools.permutations(range(3)))


@njit(cache=True)  # type: ignore[misc]
def _summed(p0, p1, p2, p3, p4, p5, o01, o02, o12, t0, t1, t2, e, e_vir):  # type: ignore[no-untyped-def]
    """Connected triples and half the disconnected ones, over the orbital energies, [a, b, c]."""
    n = len(e_vir)
    w, z = np.empty((n, n, n)), np.empty((n, n, n))
    for a in range(n):
        for b in range(n):
            for c in range(n):
                gap = e - e_vir[a] - e_vir[b] - e_vir[c]
                near = p0[a, b, c] + p1[a, c, b] + p2[b, a, c]
                w[a, b, c] = (near + p3[b, c, a] + p4[c, a, b] + p5[c, b, a]) / gap
                z[a, b, c] = (o01[a, b] * t2[c] + o02[a, c] * t1[b] + o12[b, c] * t0[a]) / gap
    return w, z


@njit(cache=True)  # type: ignore[misc]
def _spin_summed(w, z):  # type: ignore[no-untyped-def]
    """Sum of two arrays over the spins, [a, b, c] each."""
    n = len(w)
    rw, rz = np.empty((n, n, n)), np.empty((n, n, n))
    for a in range(n):
        for b in range(n):
            for c in range(n):
                swapped = w[c, b, a] + w[a, c, b] + w[b, a, c]
                rw[a, b, c] = 4 * w[a, b, c] + w[b, c, a] + w[c, a, b] - 2 * swapped
                swapped = z[c, b, a] + z[a, c, b] + z[b, a, c]
                rz[a, b, c] = 4 * z[a, b, c] + z[b, c, a] + z[c, a, b] - 2 * swapped
    return rw, rz


@njit(cache=True)  # type: ignore[misc]
def _in_order(rw, rz, wz, w2z):  # type: ignore[no-untyped-def]
    """Contiguous copies of three arrays, and what the multipliers need of the fourth."""
    n = len(rw)
    r, s, x, m = (
        np.empty((n, n, n)),
        np.empty((n, n, n)),
        np.empty((n, n, n)),
        np.empty((n, n, n)),
    )
    for a in range(n):
        for b in range(n):
            for c in range(n):
                r[a, b, c] = rw[a, b, c]
                s[a, b, c] = rz[a, b, c]
                x[a, b, c] = wz[a, b, c]
                m[a, b, c] = 2 * w2z[a, b, c] - w2z[c, b, a] - w2z[a, c, b]
    return r, s, x, m


def _ordered(
    kept: dict[tuple[int, int, int], tuple[Array, Array]], triple: tuple[int, int, int]
) -> tuple[Array, ...]:
    """The arrays of a triple, their axes in the order of its orbitals."""
    order = np.argsort(np.argsort(triple, kind="stable"), kind="stable")
    return tuple(array.transpose(order) for array in kept[tuple(sorted(triple))])  # type: ignore[index]


def _check() -> int:
    """Compare with PySCF's own gradient, and with finite differences; how many disagree."""
    from pyscf.cc import ccsd_t_lambda_slow
    from pyscf.grad import ccsd_t as ccsd_t_gradient

    wrong = 0
    for name in ("H2O", "HCN", "HCOOH"):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=1)
        start = time.perf_counter()
        _, forces, _ = energy_and_forces(atoms)
        seconds = time.perf_counter() - start
        cc, eris = solve(atoms)
        cc.verbose = 0
        _, l1, l2 = ccsd_t_lambda_slow.kernel(cc, eris, cc.t1, cc.t2, tol=1e-6, verbose=0)
        theirs = ccsd_t_gradient.Gradients(cc).kernel(cc.t1, cc.t2, l1, l2, eris=eris)
        difference = np.abs(forces + theirs / Bohr).max()
        step, energies = 1e-3, []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[1, 0] += sign * step
            energies.append(energy(moved))
        numerical = -(energies[0] - energies[1]) / (2 * step)
        other = abs(numerical - forces[1, 0])
        wrong += difference > 1e-6 or other > 1e-5
        print(
            f"{name}: {seconds:.1f} s; largest difference from PySCF {difference:.1e}, from a "
            f"finite difference {other:.1e} Hartree/Å",
            flush=True,
        )
    return wrong


if __name__ == "__main__":
    sys.exit(_check())
