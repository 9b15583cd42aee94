"""Conversion of files in earlier formats to the current format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from ekd import _native
from ekd.errors import ModelFileError
from ekd.export import archive
from ekd.export.torchscript import check_written, header_records
from ekd.export.weights import weight_records
from ekd.files import atomic_write
from ekd.inference import has_weights


def upgrade_model(
    path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> bool:
    """Rewrite an exported file with its weights as plain numbers, which are read without torch.

    The networks, the metadata and the results of the self-test do not change. The new file must
    pass its self-test before it replaces the target.

    Args:
        path: path of the file.
        output: path of the new file; None: replace the old one.

    Returns:
        whether a file was written; False if the file already contains plain weights.

    Raises:
        ModelFileError: the file cannot be used, or its network is not HIP-NN-TS.
        BuildError: torch is missing, or is not the version that ekd was built for.
        EKDError: the new file cannot be written.
    """
    path = Path(path)
    if has_weights(path):
        return False
    _native.load_ops()
    document, _, _ = _native.core().read_model_file(os.fspath(path))
    _native.core().Archive(os.fspath(path)).check_script()
    with archive.end_of_torchscript_ignored():
        try:
            script = torch.jit.load(str(path))
        except RuntimeError:
            raise ModelFileError(
                f"'{path}' is truncated or damaged: its metadata is sound but the model does not "
                "load; copy or export it again",
                code="EKD-MODEL-003",
            ) from None
    members = [member for _, member in script.members.named_children()]
    for member in members:
        name = member._c._type().qualified_name().removeprefix("__torch__.")
        if "ekd.models.hipnn." not in name:
            raise ModelFileError(
                f"the network of '{path}' is '{name}', not HIP-NN-TS: it can only be evaluated as "
                "TorchScript, with torch",
                code="EKD-MODEL-007",
            )
    records = header_records(_with_new_fields(json.loads(document))) | weight_records(members)
    target = path if output is None else Path(output)
    with atomic_write(target) as temporary:
        archive.rewrite(path, temporary, records)
        check_written(temporary, os.fspath(target))
    return True


def _with_new_fields(metadata: dict[str, Any]) -> dict[str, Any]:
    """Convert metadata of format 2 or 3 to format 4, which has the fields of format 3."""
    frame = {"uncertainty": [], **metadata["self_test"]}
    return {"uncertainty": False, **metadata, "self_test": frame}
