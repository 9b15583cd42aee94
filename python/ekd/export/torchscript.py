"""Export of networks as a TorchScript archive, the only place where ekd scripts networks."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ekd import _native
from ekd.config import HIPNNConfig
from ekd.elements import symbol
from ekd.errors import ConfigError, ModelFileError
from ekd.export import archive
from ekd.export.eager import evaluate
from ekd.export.self_test_frame import TOLERANCE, self_test_frame
from ekd.export.weights import weight_records
from ekd.files import atomic_write
from ekd.inference import (
    ExportedModel,
    SelfTestReport,
    compare_with_frame,
    run_self_test,
)
from ekd.inference.metadata import FORMAT, FORMAT_RECORD, METADATA_RECORD
from ekd.models import HIPNN, Committee
from ekd.neighbor_list import neighbor_list

_OPERATORS = (
    "pair_weights",
    "message",
    "message_weight",
    "message_feature",
    "invariants",
    "atom_layers",
)


def export_model(
    models: HIPNN | Sequence[HIPNN],
    path: str | os.PathLike[str],
    *,
    config: HIPNNConfig,
    dtype: str = "float64",
    description: str = "",
    portable: bool = False,
    provenance: Sequence[dict[str, Any]] = (),
) -> None:
    """Write one or more networks to a file that ASE and LAMMPS run without ekd's model code.

    Several networks form a committee: their mean is used and their spread is an output. If all have
    an uncertainty head, the uncertainty of the forces is an output, too; if only some do, it is
    not. The file is loaded again and must pass its self-test before it replaces the target.

    Args:
        models: one network, or several with the same architecture, cutoff and order of elements;
            they are not changed.
        path: target file, conventionally ``*.pt``.
        config: architecture, for the model card.
        dtype: "float64" or "float32", the precision of evaluations.
        description: free text for the model card.
        portable: use only operations of libtorch itself, so any program can load the file, on any
            device. The kernels of ekd (on the CPU) are as fast with such a file as with others.
        provenance: origin of the weights, one dictionary of JSON types per network. Paths in it are
            reduced to file names.

    Raises:
        ConfigError: an unknown dtype, no network, or networks that do not match.
        ModelFileError: the written file does not reproduce the networks.
        EKDError: the file cannot be written.
    """
    if dtype not in TOLERANCE:
        raise ConfigError(
            f"export dtype is '{dtype}', expected one of {', '.join(TOLERANCE)}",
            code="EKD-CONFIG-019",
        )
    members = [models] if isinstance(models, HIPNN) else list(models)
    _check_together(members)
    deployed = Committee(copy.deepcopy(members)).to(getattr(torch, dtype)).eval()
    for parameter in deployed.parameters():
        parameter.requires_grad_(False)
    for member in deployed.members:
        member.use_native_ops(not portable)  # type: ignore[operator]
    origins = [archive.without_folders(origin) for origin in provenance or [{} for _ in members]]
    operators = () if portable else _OPERATORS
    metadata = _metadata(deployed, config, dtype, description, origins, operators)
    with archive.end_of_torchscript_ignored():
        script = torch.jit.script(deployed)
        records = header_records(metadata) | weight_records(deployed.members)
        with atomic_write(path) as temporary:
            archive.save(script, temporary, records)
            check_written(temporary, os.fspath(path))


def header_records(metadata: dict[str, Any]) -> dict[str, bytes]:
    """Return the records that mark an archive as a file of ekd, by name."""
    return {
        f"extra/{FORMAT_RECORD}": str(FORMAT).encode(),
        f"extra/{METADATA_RECORD}": json.dumps(metadata, indent=1).encode(),
    }


def check_written(temporary: Path, path: str) -> None:
    """Run the self-test of a file with its plain weights, and with its TorchScript.

    Args:
        temporary: the file.
        path: final path of the file, for messages.

    Raises:
        ModelFileError: a difference exceeds the tolerance of the file.
    """
    model = ExportedModel(temporary)
    for report in (run_self_test(model), _run_script(temporary, model.metadata.self_test)):
        if not report.passed:
            raise ModelFileError(
                f"the exported model differs from the networks by {report.energy:.1e} eV/atom, "
                f"{report.forces:.1e} eV/Å, {report.virial:.1e} eV/atom (virial), "
                f"{report.uncertainty or 0:.1e} eV/Å (uncertainty), expected below "
                f"{report.tolerance:.0e}; '{path}' was not written, check the "
                "installation of torch with 'ekd check' on a file that worked",
                code="EKD-MODEL-009",
            )


def _run_script(path: Path, frame: dict[str, Any]) -> SelfTestReport:
    """Run the self-test of the TorchScript of a file, differentiated by autograd."""
    # Profiling and fusing slow down the first evaluations, and there is only one.
    with torch.jit.optimized_execution(False), archive.end_of_torchscript_ignored():
        script = torch.jit.load(str(path))
        pairs = neighbor_list(frame["positions"], script.cutoff, frame["cell"], frame["pbc"])
        species = [script.elements.index(z) for z in frame["atomic_numbers"]]
        results = evaluate(script, np.array(species, dtype=np.int64), pairs)
    return compare_with_frame(results, frame)


def _check_together(members: list[HIPNN]) -> None:
    if not members:
        raise ConfigError(
            "there is no network to export; a file needs at least 1", code="EKD-CONFIG-023"
        )
    for name in ("elements", "cutoff", "feature_widths"):
        values = [getattr(member, name) for member in members]
        for k, value in enumerate(values):
            if value != values[0]:
                raise ConfigError(
                    f"networks of one file must have the same {name}, but network {k} has "
                    f"{value} and network 0 has {values[0]}; export them to separate files",
                    code="EKD-CONFIG-024",
                )


def _metadata(
    model: Committee,
    config: HIPNNConfig,
    dtype: str,
    description: str,
    provenance: list[dict[str, Any]],
    operators: Sequence[str],
) -> dict[str, Any]:
    members: list[HIPNN] = list(model.members)  # type: ignore[arg-type]
    reference = torch.stack([member.reference_energies for member in members]).mean(0)
    symbols = [symbol(z) for z in model.elements]
    return {
        "ekd_version": _native.build_info().EKD_VERSION,
        "torch_version": str(torch.__version__),
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "architecture": "HIP-NN-TS",
            "description": description,
            "n_parameters": sum(parameter.numel() for parameter in members[0].parameters()),
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
        "n_members": len(members),
        "uncertainty": model.has_uncertainty,
        "strictly_local": model.n_interactions == 1,
        "energy_reference": dict(zip(symbols, reference.tolist(), strict=True)),
        "provenance": provenance,
        "required_ops": [str(getattr(torch.ops.ekd, name).default._schema) for name in operators],
        "self_test": self_test_frame(model, dtype),
    }
