"""A trained network with its settings, history and provenance."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ekd.config import HIPNNConfig, TrainingConfig, UncertaintyConfig
from ekd.data import Dataset
from ekd.errors import CheckpointError
from ekd.models import HIPNN
from ekd.training import checkpoint
from ekd.training.batches import BatchSource
from ekd.training.predictions import Predictions, evaluate


@dataclass(frozen=True)
class TrainedModel:
    """A network that has been trained to the end of its schedule.

    Attributes:
        model: the network, in the precision of the training.
        model_config: architecture.
        training_config: settings of the training; None if not trained by ekd.
        provenance: data, split, seed, and for a student its teachers; plain JSON types.
        history: one record per epoch: ``epoch, loss, energy_rmse, energy_mae, force_rmse,
            force_mae`` (eV, eV/Å; forces compared with the labels, None without labels),
            ``learning_rate``, the same four errors with the prefix ``validation_``,
            ``validation_loss, seconds, configs_per_second``. Training errors are over the steps of
            the epoch, weighted as in the loss; validation errors are those of the averaged weights.
        uncertainty_config: settings of the uncertainty head; None: there is no head.
        uncertainty_record: results of its training, see
            :func:`ekd.training.uncertainty.fit_uncertainty`; None without a head.
    """

    model: HIPNN
    model_config: HIPNNConfig
    training_config: TrainingConfig | None
    provenance: dict[str, Any]
    history: list[dict[str, Any]]
    uncertainty_config: UncertaintyConfig | None = None
    uncertainty_record: dict[str, Any] | None = None

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of architecture, elements, and all weights in float64."""
        digest = hashlib.sha256(self.model_config.model_dump_json().encode())
        digest.update(json.dumps(self.model.elements).encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.double().cpu().numpy().tobytes())
        return digest.hexdigest()

    def predict(self, data: Dataset) -> Predictions:
        """Predict energies and forces of all configurations, in float64.

        Raises:
            StructureError: the data hold an element that the model was not trained on.
        """
        model = self.in_float64()
        return evaluate(model, BatchSource(data, model.elements, model.cutoff, torch.float64))

    def in_float64(self) -> HIPNN:
        """Return a copy of the network in float64."""
        return copy.deepcopy(self.model).double()

    def export(
        self,
        path: str | os.PathLike[str],
        dtype: str = "float64",
        description: str = "",
        portable: bool = False,
    ) -> None:
        """Export the model for LAMMPS and ASE; see :func:`ekd.export.export_model`."""
        from ekd.export import export_model

        export_model(
            self.model,
            path,
            config=self.model_config,
            dtype=dtype,
            description=description,
            portable=portable,
            provenance=[self.provenance],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint for :meth:`load`."""
        checkpoint.save(
            path,
            {
                "model_config": self.model_config.model_dump(),
                "training_config": self.training_config and self.training_config.model_dump(),
                "uncertainty_config": self.uncertainty_config
                and self.uncertainty_config.model_dump(),
                "uncertainty": self.uncertainty_record,
                "provenance": self.provenance,
                "elements": self.model.elements,
                "history": self.history,
                "model": self.model.state_dict(),
                "state": None,
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainedModel:
        """Read the checkpoint of a finished training.

        Raises:
            CheckpointError: the file is missing or damaged, or the training was not finished.
        """
        contents = checkpoint.load(path)
        if contents["state"] is not None:
            done, epochs = (len(contents["history"]), contents["training_config"]["epochs"])
            raise CheckpointError(
                f"the training in '{path}' stopped after epoch {done} of {epochs}; finish it "
                "with resume=True",
                code="EKD-CHECKPOINT-007",
            )
        try:
            return cls.from_checkpoint(contents)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"'{path}' is damaged: its weights do not match its network "
                f"({' '.join(str(error).split())}); delete it and train again",
                code="EKD-CHECKPOINT-006",
            ) from None

    @classmethod
    def from_checkpoint(cls, contents: Mapping[str, Any]) -> TrainedModel:
        """Build the model from the contents of a checkpoint (see :mod:`.checkpoint`)."""
        training, uncertainty = contents["training_config"], contents["uncertainty_config"]
        return cls(
            model=network_of(contents),
            model_config=HIPNNConfig(**contents["model_config"]),
            training_config=None if training is None else TrainingConfig(**training),
            provenance=contents["provenance"],
            history=contents["history"],
            uncertainty_config=None if uncertainty is None else UncertaintyConfig(**uncertainty),
            uncertainty_record=contents["uncertainty"],
        )


def network_of(contents: Mapping[str, Any]) -> HIPNN:
    """Return the network of a checkpoint, with an uncertainty head if it has its weights."""
    weights = contents["model"]
    hidden = weights.get("uncertainty_head.first.bias")
    with torch.random.fork_rng(devices=[]):  # random initial weights are drawn, then replaced
        network = HIPNN(
            HIPNNConfig(**contents["model_config"]),
            contents["elements"],
            weights["reference_energies"].tolist(),
            n_hidden=None if hidden is None else len(hidden),
        )
    network.to(weights["blocks.0.energy.weight"].dtype).load_state_dict(weights)
    return network
