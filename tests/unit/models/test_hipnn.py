"""The staged protocol, precision, and edge cases."""

from __future__ import annotations

import pytest
import torch

from ekd.config import HIPNNConfig
from ekd.models import HIPNN
from structures import pair_vectors, random_structure
from tolerances import tolerance

ELEMENTS = [1, 6, 8]
REFERENCE = [-13.61, -1029.02, -2041.9]
BOUNDS = tolerance("kernel", torch.float64).bounds


def make_model(**settings: object) -> HIPNN:
    torch.manual_seed(0)
    defaults = {"n_features": 6, "n_sensitivities": 5, "cutoff": 4.0, "soft_max": 3.0}
    return HIPNN(HIPNNConfig(**(defaults | settings)), ELEMENTS, REFERENCE).double()


def make_input(n_atoms: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    positions = torch.tensor(random_structure(n_atoms, seed=n_atoms))
    pairs, vectors = pair_vectors(positions, 4.0)
    species = torch.arange(n_atoms) % len(ELEMENTS)
    return species, pairs, vectors.requires_grad_(), n_atoms


def gradient(model: HIPNN, inputs: tuple) -> torch.Tensor:
    return torch.autograd.grad(model(*inputs).sum(), inputs[2])[0]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("zbl", [False, True])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_scripted_equals_eager(l_max: int, zbl: bool) -> None:
    model, inputs = make_model(l_max=l_max, n_interactions=2, zbl=zbl), make_input()
    scripted = torch.jit.script(model)
    torch.testing.assert_close(scripted(*inputs), model(*inputs), rtol=0, atol=0)
    torch.testing.assert_close(gradient(scripted, inputs), gradient(model, inputs), **BOUNDS)
    assert scripted.cutoff == 4.0
    assert scripted.n_interactions == 2
    assert scripted.feature_widths == [3, 6, 6]
    features, parts = scripted.embed(inputs[0]), []
    for k in range(scripted.n_interactions):
        features, part = scripted.interact(k, inputs[0], features, *inputs[1:])
        parts.append(part)
    torch.testing.assert_close(sum(parts), model(*inputs), **BOUNDS)


def test_stages_on_ghosts_equal_the_whole() -> None:
    """Two 'ranks' that own half of the atoms each and exchange features after each stage."""
    model = make_model(n_interactions=2, zbl=True)
    species, pairs, vectors, n = make_input()
    half = n // 2
    features, total = model.embed(species), torch.zeros(n, dtype=torch.float64)
    for k in range(2):
        results = []
        for owned in (torch.arange(half), torch.arange(half, n)):
            # Local atoms first, then ghosts, as an engine numbers them.
            numbering = torch.cat([owned, torch.tensor([i for i in range(n) if i not in owned])])
            local = torch.argsort(numbering)[pairs]
            mine = local[0] < len(owned)
            order = torch.argsort(local[0, mine], stable=True)
            results.append(
                model.interact(
                    k,
                    species[numbering],
                    features[numbering],
                    local[:, mine][:, order].contiguous(),
                    vectors[mine][order],
                    len(owned),
                )
            )
        features = torch.cat([result[0] for result in results])
        total = total + torch.cat([result[1] for result in results])
    torch.testing.assert_close(total, model(species, pairs, vectors, n), **BOUNDS)


def test_terms_add_up() -> None:
    model, inputs = make_model(n_interactions=3), make_input()
    terms = model.forward_terms(*inputs)
    assert len(terms) == 4
    assert {term.dtype for term in terms} == {torch.float64}
    torch.testing.assert_close(sum(terms), model(*inputs), **BOUNDS)
    torch.testing.assert_close(terms[0], model.reference_energies[inputs[0]], rtol=0, atol=0)


def test_plain_operations_give_the_same() -> None:
    model, inputs = make_model(n_interactions=2), make_input()
    native = model(*inputs), gradient(model, inputs)
    model.use_native_ops(False)
    plain = model(*inputs), gradient(model, inputs)
    torch.testing.assert_close(plain, native, **BOUNDS)


def test_casting_keeps_reference_energies_exact() -> None:
    model = make_model(zbl=True).float()
    assert model.reference_energies.tolist() == REFERENCE
    assert model.zbl.strength.dtype == torch.float64
    assert model.blocks[0].energy.weight.dtype == torch.float32
    species, pairs, vectors, n = make_input()
    assert model(species, pairs, vectors.float(), n).dtype == torch.float64


def test_one_atom_has_its_energy_and_no_gradient() -> None:
    model = make_model(zbl=True)
    vectors = torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    energy = model(torch.tensor([1]), torch.empty(2, 0, dtype=torch.int64), vectors, 1)
    assert torch.isfinite(energy).all()
    (derivative,) = torch.autograd.grad(energy.sum(), vectors)
    assert derivative.shape == (0, 3)


@pytest.mark.parametrize("distance", [4.0, 5.0])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_pairs_at_and_beyond_the_cutoff_add_nothing(l_max: int, distance: float) -> None:
    model = make_model(l_max=l_max, n_interactions=2, zbl=True)
    species, pairs = torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]])
    vector = torch.tensor([distance, 0.0, 0.0], dtype=torch.float64)
    vectors = torch.stack([vector, -vector]).requires_grad_()
    energy = model(species, pairs, vectors, 2)
    (derivative,) = torch.autograd.grad(energy.sum(), vectors, create_graph=True)
    alone = model(species, pairs[:, :0], vectors[:0], 2)
    torch.testing.assert_close(energy, alone, **BOUNDS)
    torch.testing.assert_close(derivative, torch.zeros_like(derivative), **BOUNDS)
    second = torch.autograd.grad(
        derivative.square().sum(), list(model.parameters()), materialize_grads=True
    )
    assert all(torch.isfinite(part).all() for part in second)


def test_wrong_number_of_reference_energies() -> None:
    with pytest.raises(ValueError, match="3 elements and 2 reference energies"):
        HIPNN(HIPNNConfig(), ELEMENTS, REFERENCE[:2])
