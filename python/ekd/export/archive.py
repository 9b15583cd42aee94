"""TorchScript archives without paths of the machine that writes them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

_DEBUG = ".debug_pkl"  # records where torch stores source files and lines of operations
_OF_THE_WRITER = ("version", "byteorder", ".data/serialization_id")


@contextlib.contextmanager
def end_of_torchscript_ignored() -> Iterator[None]:
    """Hide warnings of torch that TorchScript is deprecated; the file format still uses it."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # FutureWarning since torch 2.14
            warnings.filterwarnings("ignore", r".*torch\.jit", category)
        yield


def save(script: torch.jit.ScriptModule, path: Path, records: Mapping[str, bytes]) -> None:
    """Write a TorchScript archive without paths of source files.

    Args:
        script: the module.
        path: the archive; it is replaced.
        records: additional records of the archive, by name.
    """
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    buffer.seek(0)
    _write(torch._C.PyTorchFileReader(buffer), path, records)


def rewrite(source: Path, path: Path, records: Mapping[str, bytes]) -> None:
    """Copy an archive, with records replaced or added.

    Args:
        source: a TorchScript archive.
        path: the new archive; it is replaced.
        records: records to replace or add, by name.
    """
    _write(torch._C.PyTorchFileReader(str(source)), path, records)


def _write(reader: torch._C.PyTorchFileReader, path: Path, records: Mapping[str, bytes]) -> None:
    buffer = io.BytesIO()  # torch does not report why writing to a file failed
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, content in records.items():
        writer.write_record(name, content, len(content))
    for name in reader.get_all_records():
        if name not in records and name not in _OF_THE_WRITER and not name.endswith(_DEBUG):
            content = reader.get_record(name)
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    path.write_bytes(buffer.getbuffer())


def without_folders(value: Any) -> Any:
    """Reduce paths in JSON types to their last component.

    Paths are the values of the key ``path``, and all absolute paths.
    """
    if isinstance(value, dict):
        return {
            key: PurePath(entry).name
            if key == "path" and isinstance(entry, str)
            else without_folders(entry)
            for key, entry in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_folders(entry) for entry in value]
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    return value
