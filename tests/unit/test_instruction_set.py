"""The instruction set selected at run time is supported by the processor."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from ekd import _native

NEEDED = {
    "portable": set(),
    "avx2": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "avx512": {"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
"""Names in /proc/cpuinfo, from the oldest to the newest instruction set."""


def flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, values = line.partition(":")
        if name.strip() == "flags":
            return set(values.split())
    return set()


def chosen() -> str:
    return str(_native.core().instruction_set())


best_only = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="one set only, on other processors"
)


@best_only
def test_is_the_best_that_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EKD_SIMD", raising=False)
    present = [name for name, needed in NEEDED.items() if needed <= flags()]
    assert chosen() == present[-1]


@best_only
@pytest.mark.parametrize("wanted", NEEDED)
def test_asking_gives_no_more_than_there_is(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.delenv("EKD_SIMD", raising=False)
    order = list(NEEDED)
    best = chosen()
    monkeypatch.setenv("EKD_SIMD", wanted)
    assert chosen() == min(best, wanted, key=order.index)
    assert NEEDED[chosen()] <= flags()


def test_an_unknown_name_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EKD_SIMD", raising=False)
    best = chosen()
    monkeypatch.setenv("EKD_SIMD", "avx1024")
    assert chosen() == best
