"""Training epochs of hippynn, as its users run them: its database, graph, losses, step function."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.epochs import BATCH_SIZE, Task
from suite.peers.hippynn import KERNELS as KERNELS_OF_FORCES

KERNELS = (*KERNELS_OF_FORCES, "_pytorch_raw")
"""To choose from: batches are small, so that plain torch may be as fast as what is compiled."""

# The mapping of weights to hippynn, which the tests prove equal.
_TESTS = str(Path(__file__).parents[3] / "tests")


class Epochs:
    """By the modules and the step function of hippynn's ``setup_and_train``, validation left out.

    Args:
        task: what is trained.
        device: where.

    Raises:
        ImportError: hippynn is not installed.
    """

    def __init__(self, task: Task, device: torch.device | None = None):
        self.device = device or torch.device("cpu")
        if _TESTS not in sys.path:
            sys.path.append(_TESTS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import hippynn
            from hippynn.experiment.step_functions import get_step_function

            from hippynn_twin import copy_weights

        hippynn.settings.WARN_LOW_DISTANCES = False
        hippynn.settings.PROGRESS = None
        network, energy, total = _graph(task)
        with contextlib.redirect_stdout(io.StringIO()):
            self.modules, info = hippynn.experiment.assemble_for_training(total, {"Loss": total})
            self.database = hippynn.databases.Database(
                _padded(task), **info, seed=0, pin_memory=False, quiet=True
            )
        self.database.make_explicit_split("train", torch.from_numpy(task.chosen))
        self.database.splitting_completed = True
        layers = energy.torch_module
        copy_weights(task.network(), task.config, network.torch_module, layers)
        # Energies are counted from the reference energies, which are fixed.
        layers.layers[0].weight.requires_grad_(False).zero_()
        self.modules.model.to(self.device)
        self.modules.loss.to(self.device)
        self.parameters = [p for p in self.modules.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3)
        self.step = get_step_function(self.optimizer)
        self.n_inputs = len(info["inputs"])

    def epoch(self, n_batches: int | None = None) -> None:
        """One pass over the training part, or its beginning, as in hippynn's ``training_loop``."""
        self.modules.model.train()
        batches = self.database.make_generator("train", "train", batch_size=BATCH_SIZE)
        for on_host in itertools.islice(batches, n_batches):
            batch = [tensor.to(self.device, non_blocking=True) for tensor in on_host]
            inputs, targets = batch[: self.n_inputs], batch[self.n_inputs :]
            self.step(self.optimizer, self.modules.model, self.modules.loss, inputs, targets)

    def loss_and_gradient(self) -> tuple[float, float]:
        """Loss of the first configurations, and the norm of its gradient."""
        generator = self.database.make_generator("train", "eval", batch_size=BATCH_SIZE)
        batch = [tensor.to(self.device) for tensor in next(iter(generator))]
        outputs = self.modules.model(*batch[: self.n_inputs])
        loss = self.modules.loss(*outputs, *batch[self.n_inputs :])[0]
        gradient = torch.autograd.grad(loss, self.parameters)
        return loss.item(), torch.cat([part.flatten() for part in gradient]).norm().item()


def _graph(task: Task) -> tuple[Any, Any, Any]:
    """Nodes of the network, the energy and the loss: RMSE + MAE, as in ekd."""
    from hippynn.graphs import inputs, loss, networks, physics, targets

    config = task.config
    species = inputs.SpeciesNode(db_name="Z")
    positions = inputs.PositionsNode(db_name="R")
    settings: dict[str, Any] = {
        "possible_species": [0, *task.elements],
        "n_features": config.n_features,
        "n_sensitivities": config.n_sensitivities,
        "dist_soft_min": config.soft_min,
        "dist_soft_max": config.soft_max,
        "dist_hard_max": config.cutoff,
        "n_interaction_layers": config.n_interactions,
        "n_atom_layers": config.n_atom_layers,
        **({"cusp_reg": config.cusp} if config.l_max else {}),
    }
    kind = (networks.Hipnn, networks.HipnnVec, networks.HipnnQuad)[config.l_max]
    network = kind("hipnn", (species, positions), module_kwargs=settings)
    energy = targets.HEnergyNode("energy", network, db_name="E")

    def rmse_plus_mae(node: Any) -> Any:
        return loss.MSELoss.of_node(node) ** 0.5 + loss.MAELoss.of_node(node)

    total = rmse_plus_mae(energy)
    if task.with_forces:
        forces = physics.GradientNode("force", (energy, positions), sign=-1, db_name="F")
        total = total + rmse_plus_mae(forces)
    return network, energy, total


def _padded(task: Task) -> dict[str, torch.Tensor]:
    """Arrays as hippynn takes them, float32: one row per configuration, zeros at its end.

    Energies are counted from the reference energies, for hippynn has no other precision for them.
    """
    data = task.data
    counts = np.diff(data.offsets)
    rows = np.repeat(np.arange(len(data)), counts)
    columns = np.arange(len(rows)) - np.repeat(data.offsets[:-1], counts)
    shape = (len(data), counts.max())
    numbers = np.zeros(shape, dtype=np.int64)
    positions, forces = np.zeros((*shape, 3)), np.zeros((*shape, 3))
    numbers[rows, columns] = data.atomic_numbers
    positions[rows, columns] = data.positions
    forces[rows, columns] = task.forces
    reference = np.array([task.reference_energies[z] for z in data.atomic_numbers])
    energies = data.energies - np.bincount(rows, reference)
    return {
        "Z": torch.from_numpy(numbers),
        "R": torch.from_numpy(positions).float(),
        "F": torch.from_numpy(forces).float(),
        "E": torch.from_numpy(energies).float().unsqueeze(1),
    }
