"""What leaves the machine of its author: no paths of that machine."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

_DEBUG = ".debug_pkl"  # where torch notes the file and line that each operation was written in
_OF_THE_WRITER = ("version", "byteorder", ".data/serialization_id")


def save(script: torch.jit.ScriptModule, path: Path, records: Mapping[str, str]) -> None:
    """Write a TorchScript archive without the paths of the source files that it was made from.

    Args:
        script: the module.
        path: the archive; it is replaced.
        records: further files of the archive, by name; they are kept below ``extra/``.
    """
    buffer = io.BytesIO()
    torch.jit.save(script, buffer, _extra_files=dict(records))
    buffer.seek(0)
    reader = torch._C.PyTorchFileReader(buffer)
    writer = torch._C.PyTorchFileWriter(str(path))
    for name in reader.get_all_records():
        if name not in _OF_THE_WRITER and not name.endswith(_DEBUG):
            content = reader.get_record(name)
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()


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
