"""All errors of GPUs, with a fake driver and compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_cuda.c")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``libcuda.so.1`` and NVRTC in one library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "building ekd needed a compiler, so there must be one"
    library = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-w", SOURCE, "-o", library], check=True)
    return library


@pytest.mark.parametrize(
    ("code", "device", "changes"),
    [
        ("EKD-DEVICE-002", "cuda", {"FAKE_COUNT": "0"}),
        ("EKD-DEVICE-003", "cuda:5", {}),
        ("EKD-DEVICE-005", "cuda:0", {"EKD_NVRTC": "libm.so.6"}),
        ("EKD-DEVICE-006", "cuda:0", {"EKD_NVRTC": "/absent/libnvrtc.so"}),
        ("EKD-DEVICE-007", "cuda:0", {"FAKE_COMPILE": "6"}),
        ("EKD-DEVICE-008", "cuda:0", {"FAKE_INIT": "100"}),
        ("EKD-DEVICE-009", "cuda:0", {"FAKE_FULL": "1"}),
        ("EKD-DEVICE-010", "cuda:0", {}),
    ],
)
def test_doctor(
    fake: Path, tmp_path: Path, code: str, device: str, changes: dict[str, str]
) -> None:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(fake.parent),
        "EKD_NVRTC": str(fake),
        "EKD_CACHE": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **changes,
    }
    found = subprocess.run(
        [sys.executable, "-m", "ekd", "doctor", "--device", device],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    assert code in re.findall(r"\[(EKD-\S+)\]", found.stdout), found.stdout
