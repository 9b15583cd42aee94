"""HIP-NN and HIP-NN-TS models trained with hippynn.

hippynn (https://github.com/lanl/hippynn) describes a model as a graph of nodes. What ekd can
represent is the part that it shares: one network of type ``Hipnn``, ``HipnnVec`` or ``HipnnQuad``
with inverse-distance sensitivities and residual layers, and the energy read from its features by
``HEnergy`` or ``AtomizationEnergy``. Everything else is refused. After the weights are copied, both
models are evaluated on a structure, so that a difference nobody thought of is found here as well.

hippynn is imported in this module alone, and only when it is used.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import math
import operator
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ekd.config import HIPNNConfig
from ekd.elements import symbol
from ekd.errors import ConfigError, DataError, HippynnError
from ekd.files import sha256
from ekd.models import HIPNN
from ekd.neighbor_list import neighbor_list
from ekd.training import TrainedModel
from ekd.training.predictions import forces_from_gradient
from ekd.units import energy_unit as unit_in_ev

STRUCTURE_FILE = "experiment_structure.pt"
STATE_FILES = ("best_model.pt", "best_checkpoint.pt")

TOLERANCE = 1e-9
"""Largest difference of energies and forces of the two models, relative to the largest value."""


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
        network, term, elements = _parts(source, energy)
        provenance["energy_node"] = term.name
        config, dtype = _config(network, term)
        model = _convert(network, term, config, elements).double()
        _verify(model, network, term)
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


# ---------------------------------------------------------------------------------- reading files


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


# ------------------------------------------------------------------------- the parts of the graph


def _parts(source: Any, energy: str | None) -> tuple[Any, _Term, list[int]]:
    """The network, the energy term and the elements, in the order of the one-hot features."""
    from hippynn.graphs import GraphModule, Predictor
    from hippynn.graphs.nodes.tags import Encoder, PairIndexer
    from hippynn.graphs.nodes.targets import AtomizationEnergyNode, HEnergyNode

    kinds = (HEnergyNode, AtomizationEnergyNode)
    if isinstance(source, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        source = source.module
    if isinstance(source, Predictor):
        source = source.graph
    if isinstance(source, GraphModule):
        node = _energy_node(list(source.forward_output_list), kinds, energy)
        module_of = source.get_module
    elif isinstance(source, kinds):
        node, module_of = source, operator.attrgetter("torch_module")
    else:
        raise HippynnError(
            f"a {type(source).__name__} is no model of hippynn that ekd can read; give the folder "
            "of a training, a GraphModule, a Predictor, an HEnergyNode or an AtomizationEnergyNode",
            code="EKD-HIPPYNN-006",
        )
    network_node = node.parents[0]
    network = module_of(network_node)
    _check_network(network)
    ancestors = set(network_node.get_all_parents())
    encoders = [parent for parent in ancestors if isinstance(parent, Encoder)]
    pair_finders = [parent for parent in ancestors if isinstance(parent, PairIndexer)]
    if len(encoders) != 1 or len(pair_finders) != 1:
        raise HippynnError(
            f"the network has {len(encoders)} encoders of species and {len(pair_finders)} pair "
            "finders; ekd can represent one of each",
            code="EKD-HIPPYNN-007",
        )
    reach = getattr(pair_finders[0], "dist_hard_max", None)
    if reach is not None and reach < network.dist_hard_max:
        raise HippynnError(
            f"pairs are found up to {reach} Å, but the cutoff of the network is "
            f"{network.dist_hard_max} Å; ekd has one cutoff for both",
            code="EKD-HIPPYNN-007",
        )
    elements = _elements(module_of(encoders[0]), network.nf_in)
    return network, _Term(node.name, module_of(node)), elements


@dataclass(frozen=True)
class _Term:
    """The layer that reads energies from the features of a network."""

    name: str
    module: Any

    def __post_init__(self) -> None:
        from hippynn.layers.targets import AtomizationEnergy, HEnergy

        if type(self.module) not in (HEnergy, AtomizationEnergy):
            raise HippynnError(
                f"'{self.name}' is computed by {type(self.module).__name__}; ekd can represent "
                "HEnergy and AtomizationEnergy",
                code="EKD-HIPPYNN-007",
            )
        n_targets = {layer.weight.shape[0] for layer in self.module.layers}
        if n_targets != {1}:
            raise HippynnError(
                f"'{self.name}' predicts {max(n_targets)} targets; an energy is one number",
                code="EKD-HIPPYNN-007",
            )

    @property
    def counts_from_atoms(self) -> bool:
        """Whether energies are those of atomization, zero for isolated atoms."""
        from hippynn.layers.targets import AtomizationEnergy

        return isinstance(self.module, AtomizationEnergy)

    @property
    def levels(self) -> list[torch.nn.Linear]:
        """One layer per interaction."""
        layers = list(self.module.layers)
        return layers if self.module.first_is_interacting else layers[1:]

    @property
    def self_energies(self) -> torch.nn.Linear | None:
        """The layer that acts on the species themselves, if there is one."""
        if self.module.first_is_interacting:
            return None
        layer: torch.nn.Linear = self.module.layers[0]
        return layer


def _energy_node(nodes: Sequence[Any], kinds: tuple[Any, ...], name: str | None) -> Any:
    """The node of the energy; without a name it must be the only thing the model predicts."""
    from hippynn.graphs.nodes.base.algebra import BinNode
    from hippynn.graphs.nodes.physics import CombineEnergyNode
    from hippynn.graphs.nodes.tags import Charges, Energies

    candidates: list[Any] = [node for node in nodes if isinstance(node, kinds)]
    names = ", ".join(f"'{node.name}'" for node in candidates) or "none"
    if name is not None:
        for node in candidates:
            if name in (node.name, node.main_output.name, node.main_output.db_name):
                return node
        raise HippynnError(
            f"the model has no energy '{name}'; its HEnergy and AtomizationEnergy nodes: {names}",
            code="EKD-HIPPYNN-008",
        )
    if not candidates:
        raise HippynnError(
            "the model has no HEnergyNode or AtomizationEnergyNode, so it predicts no energy that "
            "ekd can represent",
            code="EKD-HIPPYNN-008",
        )
    advice = f"if one of {names} alone is wanted, name it with the option 'energy'"
    if len(candidates) > 1:
        raise HippynnError(
            f"the model has {len(candidates)} energies: {names}; {advice}", code="EKD-HIPPYNN-008"
        )
    for node in nodes:
        if isinstance(node, (Charges, Energies)) and node is not candidates[0]:
            raise HippynnError(
                f"the model has '{node.name}' ({type(node).__name__}), which ekd cannot "
                f"represent; {advice}",
                code="EKD-HIPPYNN-008",
            )
        combines = isinstance(node, (BinNode, CombineEnergyNode))
        if combines and candidates[0] in node.get_all_parents():
            raise HippynnError(
                f"the model computes '{node.name}' from the energy, and ekd cannot tell whether "
                f"that is the energy meant; {advice}",
                code="EKD-HIPPYNN-008",
            )
    return candidates[0]


def _elements(encoder: Any, n_features: int) -> list[int]:
    from hippynn.layers.indexers import OneHotSpecies

    if type(encoder) is not OneHotSpecies:
        raise HippynnError(
            f"species are encoded by {type(encoder).__name__}; ekd can represent OneHotSpecies",
            code="EKD-HIPPYNN-007",
        )
    species = [int(z) for z in encoder.species_set]
    if species[0] != 0:
        raise HippynnError(
            f"possible_species is {species}; it must begin with 0, the padding, which hippynn "
            "takes away before the network",
            code="EKD-HIPPYNN-007",
        )
    elements = species[1:]
    try:
        for z in elements:
            symbol(z)
    except DataError as error:
        raise HippynnError(
            f"possible_species is {species}: {error}", code="EKD-HIPPYNN-007"
        ) from None
    if len(elements) != n_features or len(set(elements)) != len(elements):
        raise HippynnError(
            f"possible_species is {species}, but the network takes {n_features} features per atom; "
            "ekd needs one per element",
            code="EKD-HIPPYNN-007",
        )
    return elements


def _check_network(network: Any) -> None:
    """Refuse what the architecture of ekd has no place for."""
    from hippynn.layers.hiplayers import CosCutoff, InverseSensitivityModule
    from hippynn.networks.hipnn import Hipnn, HipnnQuad, HipnnVec

    def refuse(found: str, expected: str) -> None:
        raise HippynnError(
            f"the network {found}; ekd can represent {expected}", code="EKD-HIPPYNN-007"
        )

    if type(network) not in (Hipnn, HipnnVec, HipnnQuad):
        refuse(f"is a {type(network).__name__}", "Hipnn, HipnnVec and HipnnQuad")
    if not network.resnet:
        refuse("has no residual layers (resnet=False)", "those with resnet=True")
    widths = {*network.feature_sizes[1:], *network.nf_middle}
    if len(widths) > 1:
        refuse(f"has layers of widths {sorted(widths)}", "one width for all")
    activation = network.activation
    softplus = isinstance(activation, torch.nn.Softplus)
    if not softplus or (activation.beta, activation.threshold) != (1, 20):
        refuse(f"has the activation {activation!r}", "Softplus with its defaults")
    for sensitivity in network.sensitivity_layers:
        if type(sensitivity) is not InverseSensitivityModule:
            refuse(
                f"has sensitivities of type {type(sensitivity).__name__}",
                "InverseSensitivityModule (sensitivity_type='inverse')",
            )
        if type(sensitivity.cutoff) is not CosCutoff:
            refuse(f"is cut off by {type(sensitivity.cutoff).__name__}", "CosCutoff")
        if sensitivity.cutoff.hard_max_dist != network.dist_hard_max:
            refuse("has several cutoffs", "one cutoff for all interactions")
    if len({getattr(layer, "cusp_reg", None) for layer in network.interaction_layers}) > 1:
        refuse("has several values of cusp_reg", "one for all interactions")


# ------------------------------------------------------------------------------------- conversion


def _config(network: Any, term: _Term) -> tuple[HIPNNConfig, torch.dtype]:
    parameters = [*network.parameters(), *term.module.parameters()]
    dtypes = {parameter.dtype for parameter in parameters}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        raise HippynnError(
            f"the weights are {', '.join(sorted(map(str, dtypes)))}; ekd can represent float32 or "
            "float64, one for all",
            code="EKD-HIPPYNN-007",
        )
    l_max = ("Hipnn", "HipnnVec", "HipnnQuad").index(type(network).__name__)
    settings: dict[str, Any] = {"l_max": l_max}
    if l_max > 0:
        settings["cusp"] = float(network.interaction_layers[0].cusp_reg)
    try:
        config = HIPNNConfig(
            n_interactions=int(network.ni),
            n_atom_layers=int(network.n_layers_per_block),
            n_features=int(network.feature_sizes[1]),
            n_sensitivities=int(network.n_sensitivities),
            cutoff=float(network.dist_hard_max),
            soft_min=float(network.dist_soft_min),
            soft_max=float(network.dist_soft_max),
            **settings,
        )
    except ConfigError as error:
        raise HippynnError(
            f"ekd cannot represent the settings of the network: {error}", code="EKD-HIPPYNN-007"
        ) from None
    return config, dtypes.pop()


@torch.no_grad()
def _convert(network: Any, term: _Term, config: HIPNNConfig, elements: list[int]) -> HIPNN:
    """Copy the weights; in the unit of hippynn's energies, in float64."""
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and then replaced
        model = HIPNN(config, elements, [0.0] * len(elements)).double()
    blocks: Any = model.blocks
    for block, layers, level in zip(blocks, network.blocks, term.levels, strict=True):
        base, ours = layers[0].base_layer, block.interaction
        # [sensitivity, out, in] -> [out, (sensitivity, in)]
        ours.neighbors.weight.copy_(base.int_weights.transpose(0, 1).flatten(1))
        _copy(base.selfint, ours.center)
        ours.sensitivities.mu.copy_(base.sensitivity.mu.squeeze(0))
        ours.sensitivities.sigma.copy_(base.sensitivity.sigma.squeeze(0))
        scales = [getattr(base, name) for name in ("vecscales", "quadscales")[: config.l_max]]
        for rank, values in enumerate(scales):
            ours.tensor_scales[rank].copy_(values)
        _copy(layers[0].res_layer, block.outer)
        if layers[0].needs_size_adjust:
            _copy(layers[0].adjust_layer, block.skip)
        for layer, wrapped in zip(block.atom_layers, layers[1:], strict=True):
            _copy(wrapped.base_layer, layer.inner)
            _copy(wrapped.res_layer, layer.outer)
        _copy(level, block.energy)
    model.reference_energies.copy_(_reference_energies(model, term))
    return model


def _copy(source: torch.nn.Linear, target: Any) -> None:
    target.weight.copy_(source.weight)
    if target.bias is not None:
        target.bias.copy_(torch.zeros(()) if source.bias is None else source.bias)


def _reference_energies(model: HIPNN, term: _Term) -> torch.Tensor:
    """Level 0: what hippynn reads from the species, or what makes isolated atoms zero."""
    n = len(model.elements)
    if term.counts_from_atoms:
        species, pairs = torch.arange(n), torch.empty((2, 0), dtype=torch.int64)
        vectors = torch.empty((0, 3), dtype=torch.float64)
        alone: torch.Tensor = model(species, pairs, vectors, n)
        return -alone  # the reference energies are still zero
    layer = term.self_energies
    if layer is None:
        return torch.zeros(n, dtype=torch.float64)
    energies = layer.weight[0].double()
    return energies if layer.bias is None else energies + layer.bias.double()


# ------------------------------------------------------------------------------------- comparison


def _verify(model: HIPNN, network: Any, term: _Term) -> None:
    """Compare both models in float64 on a cluster of all elements."""
    n_elements = len(model.elements)
    n_atoms = max(12, 2 * n_elements)
    grid = np.stack(np.unravel_index(np.arange(n_atoms), [math.ceil(n_atoms ** (1 / 3))] * 3), 1)
    positions = 1.5 * grid + np.random.default_rng(0).normal(scale=0.2, size=grid.shape)
    found = neighbor_list(positions, model.cutoff)
    species = torch.from_numpy(np.arange(n_atoms) % n_elements)
    pairs = torch.from_numpy(found.pairs)
    vectors = torch.from_numpy(found.pair_vectors).requires_grad_()
    ours = model(species, pairs, vectors, n_atoms).sum()
    theirs = _hippynn_energy(network, term, species, n_elements, pairs, vectors, model.l_max)
    gradients = [torch.autograd.grad(energy, vectors)[0] for energy in (ours, theirs)]
    mine, reference = (forces_from_gradient(gradient, pairs, n_atoms) for gradient in gradients)
    for name, values, expected in (("energies", ours, theirs), ("forces", mine, reference)):
        error = float((values - expected).detach().abs().max())
        scale = max(1.0, float(expected.detach().abs().max()))
        if not error <= TOLERANCE * scale:
            raise HippynnError(
                f"the {name} of the converted model differ from those of hippynn by {error:.1e} "
                f"(values up to {scale:.1e}): this hippynn "
                f"({importlib.metadata.version('hippynn')}) or this model computes something that "
                "ekd does not know; please report it",
                code="EKD-HIPPYNN-009",
            )


def _hippynn_energy(
    network: Any,
    term: _Term,
    species: torch.Tensor,
    n_elements: int,
    pairs: torch.Tensor,
    pair_vectors: torch.Tensor,
    l_max: int,
) -> torch.Tensor:
    """Total energy that hippynn computes."""
    network, module = copy.deepcopy(network).double(), copy.deepcopy(term.module).double()
    one_hot = torch.eye(n_elements, dtype=torch.float64)

    def features(encoding: torch.Tensor, pairs: torch.Tensor, vectors: torch.Tensor) -> Any:
        geometry = [vectors.norm(dim=1)] + ([vectors] if l_max else [])
        return network(encoding, *pairs, *geometry)

    arguments = [features(one_hot[species], pairs, pair_vectors)]
    if term.counts_from_atoms:
        alone = features(one_hot, pairs[:, :0], pair_vectors[:0])
        arguments += [alone, one_hot[species]]
    molecule = torch.zeros(len(species), dtype=torch.int64)
    energy: torch.Tensor = module(*arguments, molecule, 1)[0].sum()
    return energy


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
