"""A network as a TorchScript archive: the only place where ekd scripts and saves one."""

from __future__ import annotations

import copy
import json
import os
import warnings
from datetime import UTC, datetime
from typing import Any

import torch

from ekd import _native
from ekd.config import HIPNNConfig
from ekd.elements import symbol
from ekd.errors import ConfigError, ModelFileError
from ekd.export.self_test import TOLERANCE, self_test_frame
from ekd.files import atomic_write
from ekd.inference import ExportedModel, run_self_test
from ekd.inference.metadata import FORMAT, FORMAT_RECORD, METADATA_RECORD
from ekd.models import HIPNN

_OPERATORS = (
    "pair_weights",
    "message",
    "message_weight",
    "message_feature",
    "invariants",
    "atom_layers",
)


def export_model(
    model: HIPNN,
    path: str | os.PathLike[str],
    *,
    config: HIPNNConfig,
    dtype: str = "float64",
    description: str = "",
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a network to one file that ASE and LAMMPS run without ekd's model code.

    The file is loaded again and must pass its self-test before it takes its place.

    Args:
        model: the network; it is not changed.
        path: target, by custom ``*.pt``.
        config: architecture, for the model card.
        dtype: "float64" or "float32", the precision in which it will run.
        description: free text for the model card.
        provenance: where the weights come from; JSON types.

    Raises:
        ConfigError: another dtype.
        ModelFileError: the written file does not reproduce the network.
        EKDError: the file cannot be written.
    """
    if dtype not in TOLERANCE:
        raise ConfigError(f"export dtype is '{dtype}', expected one of {', '.join(TOLERANCE)}")
    deployed = copy.deepcopy(model).to(getattr(torch, dtype)).eval()
    for parameter in deployed.parameters():
        parameter.requires_grad_(False)
    metadata = _metadata(deployed, config, dtype, description, provenance or {})
    with warnings.catch_warnings():
        # TorchScript is the format of the file, whatever comes after it in torch.
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(deployed)
        extra = {FORMAT_RECORD: str(FORMAT), METADATA_RECORD: json.dumps(metadata, indent=1)}
        with atomic_write(path) as temporary:
            torch.jit.save(script, str(temporary), _extra_files=extra)
            report = run_self_test(ExportedModel(temporary))
            if not report.passed:
                raise ModelFileError(
                    f"the exported model differs from the network by {report.energy:.1e} eV/atom, "
                    f"{report.forces:.1e} eV/Å, {report.virial:.1e} eV/atom (virial), expected "
                    f"below {report.tolerance:.0e}; '{os.fspath(path)}' was not written, check "
                    "the installation of torch with 'ekd check' on a file that worked"
                )


def _metadata(
    model: HIPNN,
    config: HIPNNConfig,
    dtype: str,
    description: str,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    symbols = [symbol(z) for z in model.elements]
    return {
        "ekd_version": _native.build_info().EKD_VERSION,
        "torch_version": str(torch.__version__),
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "architecture": "HIP-NN-TS",
            "description": description,
            "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "config": config.model_dump(mode="json"),
        },
        "units": {"length": "angstrom", "energy": "eV"},
        "dtype": dtype,
        "elements": symbols,
        "atomic_numbers": list(model.elements),
        "cutoff": model.cutoff,
        "interaction_range": model.n_interactions * model.cutoff,
        "n_interactions": model.n_interactions,
        "feature_widths": list(model.feature_widths),
        "strictly_local": model.n_interactions == 1,
        "energy_reference": dict(zip(symbols, model.reference_energies.tolist(), strict=True)),
        "provenance": provenance,
        "required_ops": [str(getattr(torch.ops.ekd, name).default._schema) for name in _OPERATORS],
        "self_test": self_test_frame(model, dtype),
    }
