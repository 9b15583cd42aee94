"""Self-test of an exported model: comparison with its predictions at export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ekd.errors import ModelFileError, StructureError
from ekd.inference.exported_model import ExportedModel
from ekd.inference.results import Results


@dataclass(frozen=True)
class SelfTestReport:
    """Largest differences between the file evaluated here and the original network at export.

    Attributes:
        energy: eV/atom.
        forces: eV/Å.
        virial: eV/atom.
        uncertainty: eV/Å; None: the model has none.
        tolerance: largest allowed value of each difference.
    """

    energy: float
    forces: float
    virial: float
    uncertainty: float | None
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every difference is a number within the tolerance."""
        found = (self.energy, self.forces, self.virial, self.uncertainty)
        return all(value <= self.tolerance for value in found if value is not None)


def run_self_test(model: ExportedModel) -> SelfTestReport:
    """Evaluate the frame stored in the file and compare with its stored results.

    Raises:
        ModelFileError: the frame is not a valid structure.
    """
    frame = model.metadata.self_test
    try:
        results = model.evaluate(
            frame["atomic_numbers"], frame["positions"], frame["cell"], frame["pbc"]
        )
    except StructureError as error:
        raise ModelFileError(
            f"'{model.path}' is damaged: its self-test has no valid structure ({error}); copy or "
            "export it again",
            code="EKD-MODEL-003",
        ) from None
    return compare_with_frame(results, frame)


def compare_with_frame(results: Results, frame: dict[str, Any]) -> SelfTestReport:
    """Compare results for a frame with those stored with it.

    Args:
        results: results for the frame.
        frame: ``self_test`` of the metadata.
    """
    n_atoms = len(frame["atomic_numbers"])
    uncertainty = None
    if results.uncertainty is not None:
        uncertainty = float(np.abs(results.uncertainty - np.array(frame["uncertainty"])).max())
    return SelfTestReport(
        energy=abs(results.energy - frame["energy"]) / n_atoms,
        forces=float(np.abs(results.forces - np.array(frame["forces"])).max()),
        virial=float(np.abs(results.virial - np.array(frame["virial"])).max()) / n_atoms,
        uncertainty=uncertainty,
        tolerance=frame["tolerance"],
    )
