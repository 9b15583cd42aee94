"""Loads the compiled parts of ekd.

The core needs no torch. The operators of training do, and are loaded after a check that torch is
the one that they were built for: a library built for another torch fails with an undefined symbol,
or worse, loads.
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
    """Limits torch, and the neighbour list with it, to one thread.

    A fork copies the calling thread alone. GNU OpenMP in the child takes the threads of its parent
    for its own, and waits for them without end when it has work for more than one. A torch that the
    child imports itself has threads.
    """
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_use_one_thread)

LIBRARY_DIRECTORY = Path(__file__).parent / "lib"


def build_info() -> ModuleType:
    """The versions this build was made for (module ``ekd._build``).

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
        BuildError: there is no torch, or ekd was built for another one.
    """
    try:
        import torch
    except ImportError:
        raise BuildError(
            "torch is not installed; training, and files that hold TorchScript alone, need it: "
            "install it with \"pip install 'ekd[train]'\"",
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
    """Address of the function that opens TorchScript for the core, see ``script_opener.hpp``.

    Raises:
        BuildError: as :func:`load_ops`.
    """
    load_ops()
    library = ctypes.CDLL(str(torch_library(sys.modules["torch"].__version__)))
    address = ctypes.cast(library.ekd_open_script, ctypes.c_void_p).value
    assert address is not None
    return address


def torch_library(version: str) -> Path:
    """The library with the operators for a torch: of this build, or from ``ekd torch build``.

    Args:
        version: of torch. Its local part does not matter: '2.13.0+cpu' runs what was built for
            '2.13.0'.

    Raises:
        BuildError: there is none for this torch.
    """
    release, built_for = version.split("+")[0], build_info().TORCH_VERSION
    if release == built_for:
        return LIBRARY_DIRECTORY / "libekd_torch.so"
    library = library_for_torch(release)
    if library.is_file():
        return library
    raise BuildError(
        f"ekd was built for torch {built_for or '(none)'}, but torch {version} is installed; build "
        "what training needs for this one with 'ekd torch build'"
        + (f", or install that torch with 'pip install torch=={built_for}'" if built_for else ""),
        code="EKD-BUILD-005",
    )


def library_for_torch(release: str) -> Path:
    """Where ``ekd torch build`` puts the library for a torch, such as ``2.14.1``.

    It belongs to this build of ekd too: another one has other objects in memory.
    """
    folder = f"torch-{release}-{build_info().SOURCES}"
    return LIBRARY_DIRECTORY / folder / "libekd_torch.so"
