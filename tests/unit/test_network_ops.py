"""The operations around the message sum: references, two orders of derivatives, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import ekd.models  # noqa: F401  (registers torch.ops.ekd)
from ekd.models import reference_ops
from tolerances import tolerance

Call = Callable[..., torch.Tensor]


def pair_weights(
    source: Any, l_max: int, n_pairs: int, dtype: torch.dtype = torch.float64, width: int = 5
) -> tuple[Call, list[torch.Tensor]]:
    """An operation of ``source`` as a function of tensors, with arguments; cutoff 4 Å.

    The pairs are on both sides of the cutoff, the first one along an axis.
    """
    generator = torch.Generator().manual_seed(l_max)
    vectors = torch.randn(n_pairs, 3, generator=generator, dtype=dtype)
    length = torch.linspace(0.7, 4.2, n_pairs, dtype=dtype).unsqueeze(1)
    vectors = vectors / vectors.norm(dim=1, keepdim=True) * length
    if n_pairs > 0:
        vectors[0] = torch.tensor([0.0, 0.7, 0.0])
    mu = torch.linspace(0.8, 3.5, width, dtype=dtype)
    sigma = torch.linspace(2.0, 5.0, width, dtype=dtype)
    return (lambda *args: source.pair_weights(*args, 4.0, l_max)), [vectors, mu, sigma]


def invariants(
    source: Any, l_max: int, n_atoms: int, dtype: torch.dtype = torch.float64, width: int = 7
) -> tuple[Call, list[torch.Tensor]]:
    """As above; the tensors of the first atom are zero."""
    generator = torch.Generator().manual_seed(l_max)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    mixed = random(n_atoms, (l_max + 1) ** 2, width)
    mixed[:1] = 0
    return (lambda *args: source.invariants(*args, 0.01)), [
        mixed,
        random(l_max, width),
        random(n_atoms, width),
    ]


def atom_layers(
    source: Any, n_layers: int, n_atoms: int, dtype: torch.dtype = torch.float64, width: int = 3
) -> tuple[Call, list[torch.Tensor]]:
    """As above, with ``n_layers`` layers after the first."""
    generator = torch.Generator().manual_seed(n_layers)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    weights = [
        random(width, width) if k % 2 == 0 else random(width) for k in range(4 * n_layers + 2)
    ]
    arguments = [random(n_atoms, width), random(n_atoms, width), *weights]
    return (lambda a, b, *w: source.atom_layers(a, b, list(w))), arguments


MAKERS = (pair_weights, invariants, atom_layers)
SOURCES = (torch.ops.ekd, reference_ops)


def derivatives(operation: Call, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
    """Value, and first and second derivatives along random directions."""
    arguments = [argument.requires_grad_() for argument in arguments]
    generator = torch.Generator().manual_seed(7)

    def along(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        parts = [torch.randn(t.shape, generator=generator, dtype=t.dtype) * t for t in tensors]
        return torch.stack([part.sum() for part in parts]).sum()

    value = operation(*arguments)
    first = torch.autograd.grad(
        along([value]), arguments, create_graph=True, materialize_grads=True
    )
    second = torch.autograd.grad(along(first), arguments, materialize_grads=True)
    return [value, *first, *second]


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_rows", [0, 1, 9])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("make", MAKERS)
def test_equals_its_twin(
    make: Any,
    order: int,
    n_rows: int,
    dtype: torch.dtype,
    instruction_set: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows consist of whole vectors and a remainder."""
    monkeypatch.setenv("EKD_SIMD", instruction_set)
    found = derivatives(*make(torch.ops.ekd, order, n_rows, dtype, width=37))
    expected = derivatives(*make(reference_ops, order, n_rows, dtype, width=37))
    bounds = tolerance("message", dtype).bounds
    for one, other in zip(found, expected, strict=True):
        # The error of sums of large terms of both signs is relative to the largest term.
        scale = other.abs().max().clamp(min=1) if other.numel() else 1
        torch.testing.assert_close(one / scale, other / scale, **bounds)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("n_rows", [0, 1, 3])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("make", MAKERS)
def test_first_and_second_derivatives(make: Any, order: int, n_rows: int, source: Any) -> None:
    operation, arguments = make(source, order, n_rows)
    arguments = [argument.requires_grad_() for argument in arguments]
    assert torch.autograd.gradcheck(operation, arguments)
    assert torch.autograd.gradgradcheck(operation, arguments)


@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("make", MAKERS)
def test_second_derivatives_by_one_argument_alone(make: Any, wanted: int) -> None:
    """Autograd then requests only some of the gradients."""
    operation, arguments = make(torch.ops.ekd, 1, 3)
    arguments[wanted].requires_grad_()
    assert torch.autograd.gradcheck(operation, arguments)
    assert torch.autograd.gradgradcheck(operation, arguments)


@pytest.mark.parametrize("make", MAKERS)
def test_third_derivatives_are_refused(make: Any) -> None:
    operation, arguments = make(torch.ops.ekd, 1, 3)
    value = arguments[0].requires_grad_()
    first = torch.autograd.grad(operation(*arguments).square().sum(), value, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), value, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="derivatives of first and second order only"):
        torch.autograd.grad(second.sum(), value)


@pytest.mark.parametrize("make", MAKERS)
def test_threads_change_no_bit(make: Any) -> None:
    operation, arguments = make(torch.ops.ekd, 2, 3000, torch.float32)
    arguments = [argument.requires_grad_() for argument in arguments]

    def results() -> list[torch.Tensor]:
        value = operation(*arguments)
        first = torch.autograd.grad(value.square().sum(), arguments, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), arguments)
        return [value, *first, *second]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        serial = results()
        torch.set_num_threads(3)
        threaded = results()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(serial, threaded, strict=True))


@pytest.mark.parametrize("make", MAKERS)
def test_other_devices_get_a_result_of_the_right_kind(make: Any) -> None:
    """Devices without a kernel use plain torch operations; tested with 'meta', without a GPU."""
    operation, arguments = make(torch.ops.ekd, 2, 4)
    found = operation(*[argument.to("meta").requires_grad_() for argument in arguments])
    assert found.device.type == "meta"
    assert found.shape == operation(*arguments).shape
    assert found.requires_grad


def test_sensitivities_far_from_a_pair_are_zero() -> None:
    """They must not be denormal numbers, whose arithmetic is a hundred times slower."""
    vectors, one = torch.tensor([[0.0, 0.0, 5.0]]), torch.ones(1)
    assert torch.ops.ekd.pair_weights(vectors, 0.8 * one, 20 * one, 5.5, 1).abs().sum() == 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "pair_weights",
            ((2, 2), (5,), (5,), 4.0, 1),
            r"must have shape \(n_pairs, 3\)",
        ),
        (
            "pair_weights",
            ((2, 3), (5,), (4,), 4.0, 1),
            "mu and sigma must be vectors",
        ),
        ("pair_weights", ((2, 3), (5,), (5,), 4.0, 3), "l_max must be 0, 1 or 2, found 3"),
        ("invariants", ((2, 5, 7), (1, 7), (2, 7), 0.1), r"shape \(n, 1 or 4 or 9, n_features\)"),
        ("invariants", ((2, 4, 7), (2, 7), (2, 7), 0.1), r"scales must have shape \(1, 7\)"),
        ("invariants", ((2, 4, 7), (1, 7), (3, 7), 0.1), r"base must have shape \(2, 7\)"),
        ("atom_layers", ((2, 3), (2, 4), [(3, 3), (3,)]), "inner and base must have one shape"),
        ("atom_layers", ((2, 3), (2, 3), [(3, 3)]), "2, 6, 10, ... tensors, found 1"),
        ("atom_layers", ((2, 3), (2, 3), [(3, 4), (3,)]), r"of shape \[3, 4\] at 0"),
    ],
)
def test_refuses_wrong_shapes(name: str, arguments: tuple[Any, ...], message: str) -> None:
    def tensor(value: Any) -> Any:
        if isinstance(value, list):
            return [tensor(item) for item in value]
        return torch.ones(value) if isinstance(value, tuple) else value

    with pytest.raises(RuntimeError, match=message):
        getattr(torch.ops.ekd, name)(*map(tensor, arguments))


def test_refuses_mixed_precision() -> None:
    one, vectors = torch.ones(1), torch.ones(1, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="must have one dtype, found Double, Float and Float"):
        torch.ops.ekd.pair_weights(vectors, one, one, 4.0, 1)
