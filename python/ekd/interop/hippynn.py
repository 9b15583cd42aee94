"""HIP-NN and HIP-NN-TS models trained with hippynn.

hippynn (https://github.com/lanl/hippynn) describes a model as a graph of nodes. ekd can represent
one network of type ``Hipnn``, ``HipnnVec`` or ``HipnnQuad`` with inverse-distance sensitivities and
residual layers, whose energy is computed from its features by ``HEnergy`` or ``AtomizationEnergy``.
Everything else is refused. After the weights are copied, both models are evaluated on a structure,
to find unexpected differences.

hippynn is imported only in this package, and only when it is used: ``hippynn_graph`` finds the
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
    """Convert a trained hippynn model to an ekd model, as a teacher or for export to LAMMPS.

    Energies and forces agree with the hippynn model up to rounding; the precision (float32 or
    float64) is kept.

    Args:
        source: the folder of a hippynn training (``experiment_structure.pt`` with
            ``best_model.pt`` or ``best_checkpoint.pt``), a file with the state of the model in
            such a folder, a ``GraphModule``, a ``Predictor``, or a node that predicts the energy
            (``HEnergyNode`` or ``AtomizationEnergyNode``). hippynn's files are Python pickles;
            reading a pickle runs the code in it.
        energy: name of the node that predicts the energy, if the model has several terms; the
            others are left out.
        energy_unit: unit of the model's energies, which hippynn does not record. Lengths must be
            in Å.
        allow_code: set to True to read files; only for files that you trust.

    Raises:
        DataError: the unit is unknown.
        HippynnError: hippynn is not installed, a file is given without ``allow_code``, is missing
            or cannot be read, or ekd cannot represent the model.
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
    """Import hippynn without warnings, and use its plain torch kernels inside the context.

    On import it warns about slow kernels. By default it compiles kernels, which takes longer than
    everything that is done here.
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
    """Read the model of a training, with the SHA-256 of its files."""
    folder = path if path.is_dir() else path.parent
    structure = folder / STRUCTURE_FILE
    if not structure.is_file():
        raise HippynnError(
            f"'{structure}' not found; give the folder of a hippynn training, which contains it "
            f"and {' or '.join(STATE_FILES)}",
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
            f"'{structure}' and '{path.name}' are Python pickles, and reading one runs the code in "
            "it; if you trust their author, add --allow-code (in Python: allow_code=True)",
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
    """Read a pickle, running its code; it needs the classes of hippynn."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a pickle may raise anything
        raise HippynnError(
            f"'{path}' cannot be read ({type(error).__name__}: {_first_line(error)}); it must be "
            "complete, and written with the hippynn and modules of this environment",
            code="EKD-HIPPYNN-005",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
