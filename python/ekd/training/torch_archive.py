"""Reading of ``torch.save`` files, which are checked before torch reads them.

``torch.load(weights_only=True)`` runs no code from a file, but it does not check its contents. It
ignores checksums, so a flipped bit changes a weight, and it takes the size of a tensor from the
pickle without comparing it with the size of the record.
"""

from __future__ import annotations

import collections
import io
import math
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import torch

from ekd import _native
from ekd.errors import ModelFileError

_STORAGES = {
    f"{name}Storage": size
    for name, size in {
        "Double": 8,
        "Float": 4,
        "Half": 2,
        "BFloat16": 2,
        "Long": 8,
        "Int": 4,
        "Short": 2,
        "Char": 1,
        "Byte": 1,
        "Bool": 1,
    }.items()
}
"""Bytes per number, by the name of the storage class in the pickle."""

_DEEPEST = 64
_MOST_VALUES = 10_000_000


class DamagedError(Exception):
    """A file is not a valid ``torch.save`` file of plain types and tensors."""


def load(path: str | os.PathLike[str]) -> Any:
    """Read a file of plain types and tensors to the CPU, without running code from it.

    The file is read once, so the checked bytes are used even if the file changes.

    Raises:
        OSError: there is no such file, or it cannot be opened.
        DamagedError: it is another kind of file, truncated or damaged, or it has other contents.
    """
    with Path(path).open("rb"):
        pass
    try:
        archive = _native.core().Archive(os.fspath(path))
        archive.check_all()
        sizes = archive.sizes()
        if "data.pkl" not in sizes or "constants.pkl" in sizes:
            raise DamagedError("it is not an archive of torch.save")
        _check_pickle(archive.read("data.pkl"), sizes)
        contents = torch.load(io.BytesIO(archive.content), map_location="cpu", weights_only=True)
    except ModelFileError as error:
        raise DamagedError(_reason(error)) from None
    except DamagedError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise DamagedError(type(error).__name__) from None
    _count(contents, 0, {}, set())
    return contents


def _reason(error: ModelFileError) -> str:
    """Extract the problem from an error of the reader of exported models."""
    _, found, rest = str(error).partition("is truncated or damaged: ")
    return rest.partition(";")[0] if found else "it is no archive"


def _check_pickle(content: bytes, sizes: dict[str, int]) -> None:
    """Read a pickle with placeholders for tensors, which check their sizes."""
    for code, argument, _ in pickletools.genops(content):
        # The memo is an array that grows to the largest index.
        if "PUT" in code.name and isinstance(argument, int) and argument > len(content):
            raise DamagedError(f"number {argument} of its memo is out of range")
    _Sizes(io.BytesIO(content), sizes).load()


class _Sizes(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, sizes: dict[str, int]) -> None:
        super().__init__(file)
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _check_tensor
        raise DamagedError(f"it holds a {module}.{name}, expected plain types and tensors")

    def persistent_load(self, pid: Any) -> int:
        _, n_bytes, key, _, numel = pid
        there = self._sizes.get(f"data/{key}")
        if there is None or type(numel) is not int or numel * n_bytes != there:
            raise DamagedError(f"record 'data/{key}' has {there} bytes, expected {numel} numbers")
        return numel


def _check_tensor(numel: int, offset: int, size: Any, stride: Any, *_: Any) -> None:
    """Check that a tensor lies within its storage, and does not repeat elements."""
    whole = all(type(n) is int and n >= 0 for n in (offset, *size, *stride))
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    empty = 0 in size
    if not whole or (not empty and end >= numel) or math.prod(size) > numel:
        raise DamagedError(f"a tensor of {tuple(size)} does not lie in its {numel} numbers")


def _count(value: Any, depth: int, known: dict[int, int], above: set[int]) -> int:
    """Count the values, repeatedly if they are referenced repeatedly."""
    if depth > _DEEPEST:
        raise DamagedError(f"it is nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, (list, tuple)):
        parts = [*value]
    elif value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return 1
    else:
        raise DamagedError(f"it holds a {type(value).__name__}, expected plain types and tensors")
    if id(value) in above:
        raise DamagedError("it contains itself")
    if id(value) not in known:
        above.add(id(value))
        known[id(value)] = 1 + sum(_count(part, depth + 1, known, above) for part in parts)
        above.remove(id(value))
    if known[id(value)] > _MOST_VALUES:
        raise DamagedError(f"it holds more than {_MOST_VALUES} values")
    return known[id(value)]
