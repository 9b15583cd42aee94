"""The TorchScript of a model on the device by torch, against the kernels of the CPU.

python benchmarks/gpu/part_torchscript.py --device cuda
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch

from ekd.inference import ExportedModel
from kit_models import path_of
from kit_structures import read
from paths import KIT
from records import median_seconds, tell

ALLOWED = {"student": 1e-3, "two-l1": 1e-8}
"""Difference of a force as a part of the largest: float32 and float64."""


def without_weights(source: Path, target: Path) -> Path:
    """A copy that holds TorchScript alone, so that torch has to run it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if "ekd_weights" not in item.filename:
                new.writestr(item.filename, old.read(item))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    arrays = read("water-375").repeated(options.repeats).arrays()
    with tempfile.TemporaryDirectory() as folder:
        for name, allowed in ALLOWED.items():
            copy = without_weights(path_of(KIT, name), Path(folder) / f"{name}.pt")
            expected = ExportedModel(path_of(KIT, name)).evaluate(*arrays)
            model = ExportedModel(copy, device=options.device)
            found = model.evaluate(*arrays)
            off = np.abs(found.forces - expected.forces).max() / np.abs(expected.forces).max()
            took = median_seconds(lambda model=model: model.evaluate(*arrays), 1.0)
            tell(
                "torchscript",
                model=name,
                device=options.device,
                atoms=len(arrays[0]),
                largest=float(off),
                allowed=allowed,
                passed=bool(off <= allowed),
                seconds=took,
                torch=torch.__version__,
            )


if __name__ == "__main__":
    main()
