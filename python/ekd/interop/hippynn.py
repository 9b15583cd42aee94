"""HIP-NN and HIP-NN-TS models trained with hippynn.

hippynn (https://github.com/lanl/hippynn) describes a model as a graph of nodes. What ekd can
represent is the part that it shares: one network of type ``Hipnn``, ``HipnnVec`` or ``HipnnQuad``
with inverse-distance sensitivities and residual layers, and the energy read from its features by
``HEnergy`` or ``AtomizationEnergy``. Everything else is refused. After the weights are copied, both
models are evaluated on a structure, so that a difference nobody thought of is found here as well.

hippynn is imported in this package alone, and only when it is used: ``hippynn_graph`` finds the
parts of a model, ``hippynn_weights`` copies and compares them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ekd.errors import HippynnError
from ekd.files import sha256
from ekd.interop.hippynn_graph import parts_of
from ekd.interop.hippynn_weights import config_of, convert, verify
from ekd.training import TrainedModel
from ekd.units import energy_unit as unit_in_ev

STRUCTURE_FILE = "experiment_structure.pt"


STATE_FILES = ("best_model.pt", "best_checkpoint.pt")


def from_hippynn(
    source: str | os.PathLike[str] | Any,
    energy: str | None = None,
    energy_unit: str = "eV",
    *,
    allow_code: bool = False,
) -> TrainedModel:
    """Turn a trained hippynn model into one of ekd's: a teacher, or ready for export to LAMMPS.

    Energies and forces are those of the hippynn model to rounding; the precision (float32 or
    float64) is kept.

    Args:
        source: the folder of a hippynn training (``experiment_structure.pt`` with
            ``best_model.pt`` or ``best_checkpoint.pt``), a file with the state of the model in
            such a folder, a ``GraphModule``, a ``Predictor``, or a node that predicts the energy
            (``HEnergyNode`` or ``AtomizationEnergyNode``). hippynn's files are Python pickles:
            reading one runs code that is in it.
        energy: name of the node that predicts the energy, where the model has more than one term;
            the others are then left out.
        energy_unit: unit of the model's energies, which hippynn does not record. Lengths must be
            in Å.
        allow_code: say True to read files, and only files that you trust.

    Raises:
        DataError: the unit is unknown.
        HippynnError: hippynn is not installed, a file is to be read without ``allow_code``, is
            missing or cannot be read, or the model is one that ekd cannot represent.
    """
    unit = unit_in_ev(energy_unit)
    with _hippynn():
        provenance: dict[str, Any] = {
            "imported_from": f"hippynn {importlib.metadata.version('hippynn')}",
            "energy_unit": energy_unit,
        }
        if isinstance(source, (str, os.PathLike)):
            source, files = _load(Path(source), allow_code)
            provenance["files"] = files
        network, term, elements = parts_of(source, energy)
        provenance["energy_node"] = term.name
        config, dtype = config_of(network, term)
        model = convert(network, term, config, elements).double()
        verify(model, network, term)
    with torch.no_grad():
        for block in model.blocks:
            block.energy.weight.mul_(unit)  # type: ignore[union-attr, operator]
            block.energy.bias.mul_(unit)  # type: ignore[union-attr, operator]
        model.reference_energies.mul_(unit)
    return TrainedModel(model.to(dtype), config, None, provenance, [])


@contextlib.contextmanager
def _hippynn() -> Iterator[None]:
    """Make hippynn importable quietly, and its message passing plain torch while we compare.

    On import it warns of slow kernels, and its default is to compile them, which takes longer
    than everything that is done here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from hippynn import custom_kernels
            from hippynn.custom_kernels import env_pytorch
    except ImportError as error:
        raise HippynnError(
            f"hippynn is needed to read its models and cannot be imported ({error}); install it "
            "with pip install 'ekd[hippynn]'",
            code="EKD-HIPPYNN-001",
        ) from None
    names = ("envsum", "sensesum", "featsum")
    before = {name: getattr(custom_kernels, name) for name in names}
    try:
        for name in names:
            setattr(custom_kernels, name, getattr(env_pytorch, name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, kernel in before.items():
            setattr(custom_kernels, name, kernel)


def _load(path: Path, allow_code: bool) -> tuple[Any, dict[str, str]]:
    """Read the model of a training, with the SHA-256 of the files it came from."""
    folder = path if path.is_dir() else path.parent
    structure = folder / STRUCTURE_FILE
    if not structure.is_file():
        raise HippynnError(
            f"'{structure}' not found; name the folder of a hippynn training, where it lies beside "
            f"{' or '.join(STATE_FILES)}",
            code="EKD-HIPPYNN-002",
        )
    if path.is_dir() or path.name == STRUCTURE_FILE:
        found = [folder / name for name in STATE_FILES if (folder / name).is_file()]
        if not found:
            raise HippynnError(
                f"'{folder}' has no {' or '.join(STATE_FILES)}: the training has saved no model "
                "yet; let it finish an epoch, or name the file with the state of the model",
                code="EKD-HIPPYNN-003",
            )
        path = found[0]
    elif not path.is_file():
        raise HippynnError(f"'{path}' not found; check the path", code="EKD-HIPPYNN-002")
    if not allow_code:
        raise HippynnError(
            f"'{structure}' and '{path.name}' are Python pickles, and reading one runs code that "
            "is in it; if you trust whoever wrote them, add --allow-code (in Python: "
            "allow_code=True)",
            code="EKD-HIPPYNN-010",
        )
    contents = _unpickle(structure)
    state = _unpickle(path)
    try:
        model = contents["training_modules"][0]
        if isinstance(state, dict) and "model" in state:
            state = state["model"]
        model.load_state_dict(state)
    except (KeyError, TypeError, IndexError, AttributeError, RuntimeError, ValueError) as error:
        raise HippynnError(
            f"'{path}' does not hold the weights of the model in '{structure}' "
            f"({_first_line(error)}); take both from one training",
            code="EKD-HIPPYNN-004",
        ) from None
    return model, {file.name: sha256(file) for file in (structure, path)}


def _unpickle(path: Path) -> Any:
    """Read a file with all the code that is in it: its classes are those of hippynn."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a pickle may fail in any way that Python knows
        raise HippynnError(
            f"'{path}' cannot be read ({type(error).__name__}: {_first_line(error)}); it must be "
            "complete, and need the hippynn and the modules of this environment",
            code="EKD-HIPPYNN-005",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
