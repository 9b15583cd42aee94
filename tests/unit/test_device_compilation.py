"""The device kernels compile for current GPUs, without a GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ekd import _native

FOLDER = Path(__file__).parents[2] / "cpp" / "src" / "device"
PROGRAMS = {"program.cu": "kernels.hpp", "training.cu": "training.hpp"}
"""Program -> file that lists its kernels."""
ARCHITECTURES = (80, 90, 120)

# The default student.
WIDTHS = {"WIDTH": 48, "SENSITIVITIES": 8, "SENSITIVITY_WIDTH": 8}

SPILLS = 64
"""Allowed bytes per thread that a kernel spills from registers to memory."""

REGISTERS = {"ekd_evaluate_alone": 128}
"""Allowed registers per thread: two blocks of 256 threads then use all 65,536."""

ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc, of a CUDA toolkit, is not here")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_nvcc_finds_registers_enough(program: str, architecture: int, tmp_path: Path) -> None:
    defined = {"REAL": "float", "COMPONENTS": 9, **WIDTHS}
    done = subprocess.run(
        [
            *("nvcc", f"-arch=sm_{architecture}", "-std=c++17", "-cubin", "-Xptxas", "-v"),
            *(f"-DEKD_{name}={value}" for name, value in defined.items()),
            *("-o", str(tmp_path / "program.cubin"), str(FOLDER / program)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "warning" not in said, said
    found = {
        name: (int(stores), int(loads), int(n)) for name, stores, loads, n in ENTRY.findall(said)
    }
    listed = (FOLDER / PROGRAMS[program]).read_text()
    kernels = set(re.findall(r"^  K\((\w+),", listed, re.M))
    assert {name.removeprefix("ekd_") for name in found} == kernels
    for name, (stores, loads, registers) in found.items():
        assert stores <= SPILLS, f"{name}: {stores} bytes of spills"
        assert loads <= SPILLS, f"{name}: {loads} bytes of spills"
        assert registers <= REGISTERS.get(name, 255), f"{name}: {registers} registers"


def nvrtc() -> str:
    """Reason why NVRTC is missing; empty if it was found."""
    try:
        _native.core().nvrtc_version()
    except Exception as error:  # from the C++ core; its message is the reason
        return str(error)
    return ""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("single", [True, False])
def test_nvrtc_compiles_what_travels_in_the_library(architecture: int, single: bool) -> None:
    if reason := nvrtc():
        pytest.skip(reason)
    size = _native.core().compile_kernels(
        architecture=architecture, single=single, components=9, width=48, sensitivities=8
    )
    assert size > 10_000


@pytest.mark.parametrize("single", [True, False])
def test_nvrtc_compiles_the_kernels_of_training(single: bool) -> None:
    if reason := nvrtc():
        pytest.skip(reason)
    size = _native.core().compile_kernels(architecture=90, single=single, components=0)
    assert size > 10_000


@pytest.mark.parametrize("components", [1, 4, 9])
def test_nvrtc_compiles_networks_of_any_width(components: int) -> None:
    if reason := nvrtc():
        pytest.skip(reason)
    size = _native.core().compile_kernels(
        architecture=90, single=True, components=components, width=0, sensitivities=0
    )
    assert size > 10_000
