"""Energy and forces by hippynn with the weights of a model of the kit, on the same card.

python benchmarks/gpu/part_hippynn.py --device cuda --model student --atoms 98304

The neighbour list is given, as it is to ekd. Every kind of kernels that hippynn has for the device
is tried, each in a process of its own: `--kernels` names it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import torch

from kit_models import path_of
from kit_structures import Structure, read
from paths import KIT, CannotError
from records import median_seconds, tell

ALLOWED = 1e-3
"""Difference of a force in float32, as a part of the largest."""

KERNELS = ("triton", "cupy", "pytorch", "numba")


def twin(name: str, device: str) -> tuple[Any, Any, dict[str, Any]]:
    """Network and energy layer of hippynn, float32, and how they were made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hippynn
        from hippynn.layers.targets import HEnergy
        from hippynn.networks.hipnn import Hipnn, HipnnQuad, HipnnVec

    hippynn.settings.WARN_LOW_DISTANCES = False
    content = torch.load(KIT / "hippynn" / f"{name}.pt", weights_only=True)
    config = content["config"]
    network = (Hipnn, HipnnVec, HipnnQuad)[config["l_max"]](
        n_features=config["n_features"],
        n_sensitivities=config["n_sensitivities"],
        dist_soft_min=config["soft_min"],
        dist_soft_max=config["soft_max"],
        dist_hard_max=config["cutoff"],
        n_atom_layers=config["n_atom_layers"],
        n_interaction_layers=config["n_interactions"],
        possible_species=[0, *content["elements"]],
        **({"cusp_reg": config["cusp"]} if config["l_max"] else {}),
    ).double()
    energy = HEnergy(network.feature_sizes).double()
    network.load_state_dict(content["network"])
    energy.load_state_dict(content["energy"])
    for parameter in [*network.parameters(), *energy.parameters()]:
        parameter.requires_grad_(False)
    return network.float().to(device), energy.float().to(device), content


def evaluation(name: str, structure: Structure, device: str) -> Any:
    """A function that returns the forces, on the device, when they are there."""
    from ekd.neighbor_list import neighbor_list

    network, energy, content = twin(name, device)
    config = content["config"]
    numbers, positions, cell, pbc = structure.arrays()
    pairs = neighbor_list(positions, config["cutoff"], cell, pbc)
    indices = torch.from_numpy(pairs.pairs).to(device)
    shifts = torch.from_numpy(pairs.cell_shifts @ cell).to(device)
    elements = torch.tensor(content["elements"])
    features = (torch.from_numpy(numbers).unsqueeze(1) == elements).float().to(device)
    system = torch.zeros(len(numbers), dtype=torch.int64, device=device)
    start = torch.from_numpy(positions).to(device)
    is_cuda = device.startswith("cuda")

    def forces() -> Any:
        place = start.clone().requires_grad_(True)
        vectors = (place[indices[1]] - place[indices[0]] + shifts).float()
        geometry = [vectors.norm(dim=1)] + ([vectors] if config["l_max"] else [])
        total = energy(network(features, *indices, *geometry), system, 1)[0].sum()
        found = -torch.autograd.grad(total, place)[0]
        if is_cuda:
            torch.cuda.synchronize()
        return found

    return forces


def measure(name: str, kernels: str, structure: Structure, device: str, seconds: float) -> None:
    """A record of one kind of kernels.

    Raises:
        CannotError: other forces than those of ekd.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hippynn

        hippynn.custom_kernels.set_custom_kernels(kernels)
    from ekd.inference import ExportedModel

    forces = evaluation(name, structure, device)
    expected = ExportedModel(path_of(KIT, name)).evaluate(*structure.arrays()).forces
    off = np.abs(forces().cpu().numpy() - expected).max() / np.abs(expected).max()
    if not off <= ALLOWED:
        raise CannotError(f"forces of hippynn differ by {off:.1e} of the largest, not {ALLOWED}")
    forces()
    took = median_seconds(forces, seconds)
    memory = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    tell(
        "hippynn",
        model=name,
        kernels=kernels,
        atoms=len(structure.numbers),
        seconds=took,
        atom_steps_per_s=len(structure.numbers) / took,
        memory_bytes=memory,
        largest=float(off),
        torch=torch.__version__,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="student")
    parser.add_argument("--structure", default="water-192")
    parser.add_argument("--repeats", type=int, nargs="+", default=[8])
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--alone", action="store_true", help="in this process, of one kind")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds of one kind of kernels")
    options = parser.parse_args()
    device = options.device if options.device.startswith("cuda") else "cpu"
    if options.alone:
        (kernels,) = options.kernels
        unit = read(options.structure)
        for repeats in options.repeats:
            structure = unit.repeated(repeats)
            try:
                measure(options.model, kernels, structure, device, options.seconds)
            except Exception as error:  # of many kinds: not installed, no compiler, no memory
                reason = str(error).strip().splitlines() or [type(error).__name__]
                tell(
                    "hippynn",
                    model=options.model,
                    kernels=kernels,
                    atoms=len(structure.numbers),
                    error=reason[0][:300],
                )
                return 0 if repeats != options.repeats[0] else 1
        return 0
    n_working = 0
    for kernels in options.kernels if device != "cpu" else ("pytorch",):
        command = [sys.executable, __file__, *sys.argv[1:], "--alone", "--kernels", kernels]
        try:
            done = subprocess.run(command, timeout=options.limit, check=False)
            n_working += done.returncode == 0
        except subprocess.TimeoutExpired:
            tell(
                "hippynn",
                model=options.model,
                kernels=kernels,
                error=f"not done after {options.limit:.0f} s",
            )
    if n_working == 0:
        print(f"no kernels of hippynn have worked for the model {options.model}", flush=True)
    return 0 if n_working else 1


if __name__ == "__main__":
    sys.exit(main())
