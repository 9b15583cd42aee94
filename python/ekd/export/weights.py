"""The weights of a file as plain numbers, which are read without torch.

They are stored in two records of the archive: one contains the numbers, little-endian and
consecutive; the other describes them in JSON, see ``docs/exported_model.md``. They are read by
``cpp/src/core/weights.cpp``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch

DESCRIPTION_RECORD = "extra/ekd_weights.json"
NUMBERS_RECORD = "extra/ekd_weights.bin"
_ALIGNMENT = 64  # bytes


def weight_records(members: Iterable[torch.nn.Module]) -> dict[str, bytes]:
    """Return the two records, by name.

    Args:
        members: the networks of the file, :class:`ekd.models.HIPNN` or TorchScript loaded from a
            file.
    """
    described: list[dict[str, Any]] = []
    arrays: list[dict[str, Any]] = []
    numbers = bytearray()
    for k, member in enumerate(members):
        described.append(_description(member))
        for name, tensor in [*member.named_parameters(), *member.named_buffers()]:
            values = tensor.detach().cpu().contiguous().numpy()
            numbers.extend(b"\0" * (-len(numbers) % _ALIGNMENT))
            arrays.append(
                {
                    "name": f"{k}.{name}",
                    "dtype": str(values.dtype),
                    "shape": list(values.shape),
                    "offset": len(numbers),
                }
            )
            numbers.extend(values.astype(values.dtype.newbyteorder("<")).tobytes())
    description = {"members": described, "arrays": arrays}
    return {
        DESCRIPTION_RECORD: json.dumps(description, indent=1).encode(),
        NUMBERS_RECORD: bytes(numbers),
    }


def _description(member: Any) -> dict[str, Any]:
    blocks = [block for _, block in member.blocks.named_children()]
    return {
        "architecture": "HIP-NN-TS",
        "cutoff": member.cutoff,
        "l_max": member.l_max,
        "n_atom_layers": len(list(blocks[0].atom_layers.named_children())),
        "cusp": [block.interaction.cusp for block in blocks],
        "zbl": member.zbl is not None,
        "uncertainty": getattr(member, "uncertainty_head", None) is not None,
    }
