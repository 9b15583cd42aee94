"""`ekd doctor`: its findings, and a device that is required to work."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ekd import _native
from ekd.cli import app


def doctor(*arguments: str) -> tuple[int, str]:
    """Exit status and output, in one line."""
    done = CliRunner().invoke(app, ["doctor", *arguments])
    return done.exit_code, " ".join(done.output.split())


def test_what_is_there() -> None:
    status, output = doctor()
    assert status == 0, output
    assert f"{_native.core().instruction_set()} kernels" in output
    assert _native.build_info().TORCH_VERSION in output


def test_a_device_that_works() -> None:
    status, output = doctor("--device", "emulated")
    assert status == 0, output
    assert "works the host (emulated)" in output


def test_a_device_that_is_not_there() -> None:
    try:
        number = _native.core().count_cuda_devices()
    except Exception:
        number = 0
    status, output = doctor("--device", f"cuda:{number}")
    assert status == 1
    assert f"cuda:{number} fails" in output
    assert "no NVIDIA driver" in output or "does not exist" in output or "no GPU" in output


@pytest.mark.parametrize("name", ["cuda:", "cuda:x", "cuda:99999", "gpu", ""])
def test_a_device_of_no_name(name: str) -> None:
    status, output = doctor("--device", name)
    assert status == 1
    assert "is not one of cuda, cuda:0, cuda:1" in output
