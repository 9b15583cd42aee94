"""Loads the compiled parts of ekd.

The core needs no torch. The training operators need the release of torch that they were built for,
which is checked before they are loaded: with another torch, the library fails with an undefined
symbol or, worse, loads.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from ekd.errors import BuildError


def _use_one_thread() -> None:
    """Limits torch, and with it the neighbor list, to one thread.

    A fork copies only the calling thread. GNU OpenMP in the child assumes that the threads of the
    parent still exist, and waits for them forever when it runs more than one. A torch that the
    child imports itself is not affected.
    """
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_use_one_thread)

LIBRARY_DIRECTORY = Path(__file__).parent / "lib"


def build_info() -> ModuleType:
    """The versions for which this build was made (module ``ekd._build``).

    Raises:
        BuildError: ekd has not been built.
    """
    try:
        return importlib.import_module("ekd._build")
    except ImportError:
        raise BuildError(
            "ekd's compiled libraries were not found; build them with 'pip install .' in the "
            "source directory",
            code="EKD-BUILD-001",
        ) from None


@functools.cache
def core() -> ModuleType:
    """The torch-free C++ core.

    Raises:
        BuildError: ekd has not been built, or not for this Python.
    """
    build_info()
    try:
        return importlib.import_module("ekd._core")
    except ImportError as error:
        raise BuildError(
            f"ekd's compiled core does not load ({error}); rebuild it with "
            "'pip install --force-reinstall --no-deps .' in the source directory",
            code="EKD-BUILD-002",
        ) from None


@functools.cache
def load_ops() -> None:
    """Registers ``torch.ops.ekd``.

    Raises:
        BuildError: torch is not installed, or ekd was built for another release.
    """
    try:
        import torch
    except ImportError:
        raise BuildError(
            "torch is not installed; it is needed for training, and for model files that hold only "
            "TorchScript: install it with \"pip install 'ekd[train]'\"",
            code="EKD-BUILD-003",
        ) from None

    try:
        torch.ops.load_library(str(torch_library(torch.__version__)))
    except OSError as error:
        raise BuildError(
            f"ekd's torch operators do not load ({error}); rebuild them with "
            "'pip install --force-reinstall --no-deps .' in the source directory",
            code="EKD-BUILD-004",
        ) from None


def script_opener() -> int:
    """Address of the function that opens TorchScript models for the core; ``script_opener.hpp``.

    Raises:
        BuildError: as for :func:`load_ops`.
    """
    load_ops()
    library = ctypes.CDLL(str(torch_library(sys.modules["torch"].__version__)))
    address = ctypes.cast(library.ekd_open_script, ctypes.c_void_p).value
    assert address is not None
    return address


def torch_library(version: str) -> Path:
    """Path of the training operators for a torch: from this build or ``ekd torch build``.

    Args:
        version: version of torch. Its local part is ignored: '2.13.0+cpu' runs a library built for
            '2.13.0'.

    Raises:
        BuildError: there is no library for this torch.
    """
    release, built_for = version.split("+")[0], build_info().TORCH_VERSION
    if release == built_for:
        return LIBRARY_DIRECTORY / "libekd_torch.so"
    library = library_for_torch(release)
    if library.is_file():
        return library
    raise BuildError(
        f"ekd was built for torch {built_for or '(none)'}, but torch {version} is installed; build "
        "the training operators for it with 'ekd torch build'"
        + (f", or install that torch with 'pip install torch=={built_for}'" if built_for else ""),
        code="EKD-BUILD-005",
    )


def library_for_torch(release: str) -> Path:
    """Path where ``ekd torch build`` installs the library for a torch, such as ``2.14.1``.

    It also depends on the build of ekd, because builds differ in their memory layouts.
    """
    folder = f"torch-{release}-{build_info().SOURCES}"
    return LIBRARY_DIRECTORY / folder / "libekd_torch.so"
