"""TorchScript archives, without the paths of the machine that they are written on."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

_DEBUG = ".debug_pkl"  # where torch notes the file and line that each operation was written in
_OF_THE_WRITER = ("version", "byteorder", ".data/serialization_id")


@contextlib.contextmanager
def end_of_torchscript_ignored() -> Iterator[None]:
    """Hide what torch says of the end of TorchScript: it is the format of the file all the same."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # the second one since torch 2.14
            warnings.filterwarnings("ignore", r".*torch\.jit", category)
        yield


def save(script: torch.jit.ScriptModule, path: Path, records: Mapping[str, bytes]) -> None:
    """Write a TorchScript archive without the paths of the source files that it was made from.

    Args:
        script: the module.
        path: the archive; it is replaced.
        records: further records of the archive, by name.
    """
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    buffer.seek(0)
    _write(torch._C.PyTorchFileReader(buffer), path, records)


def rewrite(source: Path, path: Path, records: Mapping[str, bytes]) -> None:
    """Write an archive again, with these records in place of those of the same names, or more.

    Args:
        source: a TorchScript archive.
        path: the new one; it is replaced.
        records: by name.
    """
    _write(torch._C.PyTorchFileReader(str(source)), path, records)


def _write(reader: torch._C.PyTorchFileReader, path: Path, records: Mapping[str, bytes]) -> None:
    buffer = io.BytesIO()  # torch does not say why a write of its own has failed
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
    """JSON types, in which of a path its last part is left.

    Those are all values of the key ``path``, and whatever is an absolute path.
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
