"""Writes checkpoints of the current format: of a finished and of an interrupted training.

    python tests/golden/make_checkpoints.py

Run it once, with the version of ekd that introduces a format. Keep the files of older formats.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import fit_reference_energies, load_dataset
from ekd.training import checkpoint, train

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "examples" / "data" / "ccsdt_chno.h5"
MODEL = HIPNNConfig(
    l_max=1, n_features=3, n_sensitivities=4, n_atom_layers=1, cutoff=4.0, soft_max=3.0
)
TRAINING = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e-2, dtype="float64")


class StopError(Exception):
    pass


def main() -> None:
    data = load_dataset(DATA, energy="ccsd(t)_ccpvdz.energy")
    data = data.subset(np.arange(0, len(data), 80))

    def stop(record: dict[str, object]) -> None:
        if record["epoch"] == 2:
            raise StopError

    stem = f"checkpoint-{checkpoint.FORMAT}"
    for name, report in (("broken-off", stop), ("finished", None)):
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.suppress(StopError):
                trained = train(
                    data,
                    model=MODEL,
                    training=TRAINING,
                    train_indices=np.arange(0, len(data) - 5),
                    validation_indices=np.arange(len(data) - 5, len(data)),
                    reference_energies=fit_reference_energies(data),
                    seed=1,
                    directory=Path(folder),
                    report=report,
                )
            shutil.copy(Path(folder) / "checkpoint.pt", HERE / f"{stem}-{name}.pt")
    predicted = trained.predict(data.subset(np.arange(3)))
    expected = {"energies": predicted.energies.tolist(), "forces": predicted.forces.tolist()}
    (HERE / f"{stem}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
