"""Imported hippynn models: same energies and forces, or an error that explains why not."""

from __future__ import annotations

import contextlib
import copy
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ekd.calculator import EKDCalculator
from ekd.cli import app
from ekd.data import Dataset
from ekd.errors import DataError, HippynnError
from ekd.interop import from_hippynn
from ekd.training import TrainedModel
from ekd.units import KCAL_PER_MOL
from hippynn_twin import HEnergy, hippynn  # which also suppresses warnings of hippynn
from tolerances import tolerance

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from hippynn.databases import Database
    from hippynn.experiment import SetupParams, assemble_for_training, setup_and_train
    from hippynn.graphs import GraphModule, Predictor, inputs, loss, networks, physics, targets

NETWORKS = (networks.Hipnn, networks.HipnnVec, networks.HipnnQuad)
SETTINGS = {
    "possible_species": [0, 1, 6, 7, 8],
    "n_features": 6,
    "n_sensitivities": 5,
    "dist_soft_min": 0.8,
    "dist_soft_max": 3.0,
    "dist_hard_max": 4.0,
    "n_interaction_layers": 2,
    "n_atom_layers": 1,
}


class Graph:
    """Nodes of a model that predicts energy and forces, with random weights."""

    def __init__(
        self,
        l_max: int = 1,
        dtype: torch.dtype = torch.float64,
        term: type = targets.HEnergyNode,
        term_settings: dict[str, Any] | None = None,
        periodic: bool = False,
        **settings: Any,
    ) -> None:
        torch.manual_seed(l_max)
        self.species = inputs.SpeciesNode(db_name="Z")
        self.positions = inputs.PositionsNode(db_name="R")
        parents = (self.species, self.positions)
        if periodic:
            parents = (*parents, inputs.CellNode(db_name="cell"))
        self.network = NETWORKS[l_max](
            "network", parents, periodic=periodic, module_kwargs=SETTINGS | settings
        )
        self.energy = term("energy", self.network, db_name="E", **(term_settings or {}))
        self.forces = physics.GradientNode("forces", (self.energy, self.positions), sign=-1)
        self.forces.db_name = "F"
        for node in (self.network, self.energy):
            node.torch_module.to(dtype)
        self.inputs = [self.species, self.positions, *parents[2:]]

    def module(self, *outputs: Any) -> torch.nn.Module:
        """The graph as hippynn trains it."""
        return GraphModule(self.inputs, [self.energy.mol_energy, *outputs])

    def predict(self, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of hippynn for some molecules, in float64."""
        module = copy.deepcopy(self.module(self.forces)).double()
        predictor = Predictor(module.input_nodes, module.nodes_to_compute)
        numbers, positions, present = padded(data)
        result = predictor(Z=torch.tensor(numbers), R=torch.tensor(positions))
        return result["E"].numpy()[:, 0], result["F"].numpy()[present]


def padded(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Padded arrays of atomic numbers, positions and masks of atoms."""
    width = data.n_atoms_per_config.max()
    present = np.arange(width) < data.n_atoms_per_config[:, None]
    numbers = np.zeros((len(data), width), dtype=np.int64)
    positions = np.zeros((len(data), width, 3))
    numbers[present], positions[present] = data.atomic_numbers, data.positions
    return numbers, positions, present


def assert_same(model: TrainedModel, graph: Graph, data: Dataset, unit: float = 1.0) -> None:
    energies, forces = graph.predict(data)
    found = model.predict(data)
    bounds = tolerance("hippynn").bounds
    np.testing.assert_allclose(found.energies, unit * energies, **bounds)
    np.testing.assert_allclose(found.forces, unit * forces, **bounds)
    assert np.ptp(forces) > 1e-3  # otherwise the comparison would be meaningless


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


@contextlib.contextmanager
def quiet(folder: Path) -> Iterator[None]:
    """Run in a separate folder for files of hippynn, without its warnings."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n_interactions", [1, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_same_energies_and_forces(
    small_dataset: Dataset, l_max: int, n_interactions: int, dtype: torch.dtype
) -> None:
    graph = Graph(l_max, dtype, n_interaction_layers=n_interactions)
    model = from_hippynn(graph.module())
    assert_same(model, graph, small_dataset)
    assert model.model.blocks[0].energy.weight.dtype == dtype
    assert model.training_config is None


@pytest.mark.parametrize(
    "changes",
    [
        {"n_atom_layers": 0},
        {"n_atom_layers": 3},
        {"n_features": 4},  # the number of elements: no skip matrix
        {"possible_species": [0, 8, 1, 7, 6]},
        {"cusp_reg": 0.1},
        {"term_settings": {"first_is_interacting": True}},
        {"term": targets.AtomizationEnergyNode},
    ],
    ids=str,
)
def test_every_shape_of_network_and_energy(small_dataset: Dataset, changes: dict[str, Any]) -> None:
    graph = Graph(2, **changes)
    for source in (
        graph.module(),
        graph.energy,
        Predictor(graph.inputs, [graph.energy.mol_energy]),
    ):
        assert_same(from_hippynn(source), graph, small_dataset)


def test_unit_of_energy(small_dataset: Dataset) -> None:
    graph = Graph()
    model = from_hippynn(graph.energy, energy_unit="kcal/mol")
    assert_same(model, graph, small_dataset, KCAL_PER_MOL)
    assert model.provenance["energy_unit"] == "kcal/mol"
    with pytest.raises(DataError, match="unknown energy unit 'cal'"):
        from_hippynn(graph.energy, energy_unit="cal")


@pytest.fixture(scope="module")
def training(
    small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Graph]:
    """A folder as written by hippynn, and the nodes with the best weights."""
    folder = tmp_path_factory.mktemp("hippynn")
    graph = Graph(dtype=torch.float64)
    error = loss.MSELoss.of_node(graph.energy)
    total = error + loss.Mean.of_node(graph.energy.hierarchicality)
    modules, info = assemble_for_training(total, {"MSE": error, "Loss": total})
    numbers, positions, _ = padded(small_dataset)
    energies = small_dataset.energies[:, None]
    with quiet(folder):
        database = Database(
            {"Z": numbers, "R": positions, "E": energies},
            seed=0,
            test_size=0.1,
            valid_size=0.1,
            **info,
        )
        settings = SetupParams(
            device="cpu", stopping_key="Loss", learning_rate=1e-2, batch_size=16, max_epochs=2
        )
        setup_and_train(modules, database, settings)
    return folder, graph


def test_folder_of_a_training(
    training: tuple[Path, Graph], small_dataset: Dataset, tmp_path: Path
) -> None:
    folder, graph = training
    model = from_hippynn(folder, allow_code=True)
    assert_same(model, graph, small_dataset)
    assert set(model.provenance["files"]) == {"experiment_structure.pt", "best_model.pt"}
    checkpoint = from_hippynn(folder / "best_checkpoint.pt", allow_code=True)
    assert checkpoint.sha256 == model.sha256
    model.save(tmp_path / "imported.pt")
    assert TrainedModel.load(tmp_path / "imported.pt").sha256 == model.sha256


def test_command_line(
    training: tuple[Path, Graph], small_dataset: Dataset, runner: CliRunner
) -> None:
    folder, graph = training
    command = ["import-hippynn", str(folder), "--energy-unit", "kcal/mol", "--export", "model.pt"]
    refused = runner.invoke(app, command)
    assert refused.exit_code == 1
    assert "add --allow-code" in refused.output
    assert "[EKD-HIPPYNN-010]" in refused.output
    command.append("--allow-code")
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "H, C, N, O" in result.output
    assert_same(TrainedModel.load("imported.pt"), graph, small_dataset, KCAL_PER_MOL)
    atoms = small_dataset.atoms(3)
    atoms.calc = EKDCalculator("model.pt")
    energies, forces = graph.predict(small_dataset.subset([3]))
    bounds = tolerance("hippynn").bounds
    np.testing.assert_allclose(atoms.get_forces(), KCAL_PER_MOL * forces, **bounds)
    np.testing.assert_allclose(atoms.get_potential_energy(), KCAL_PER_MOL * energies[0], **bounds)
    again = runner.invoke(app, command)
    assert again.exit_code == 1
    assert "'imported.pt' already exists; add --overwrite" in again.output
    assert runner.invoke(app, [*command, "--overwrite"]).exit_code == 0


def test_no_code_is_run_unless_it_is_allowed(tmp_path: Path) -> None:
    """Neither code of the model nor of its state is run."""

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "code was run",)

    torch.save(Trap(), tmp_path / "experiment_structure.pt")
    torch.save(Trap(), tmp_path / "best_model.pt")
    with pytest.raises(HippynnError, match="are Python pickles, and reading one runs the"):
        from_hippynn(tmp_path)
    assert not (tmp_path / "code was run").exists()


def test_files_that_are_missing_or_damaged(training: tuple[Path, Graph], tmp_path: Path) -> None:
    folder, _ = training
    structure, state = tmp_path / "experiment_structure.pt", tmp_path / "best_model.pt"
    with pytest.raises(HippynnError, match=r"_structure.pt' not found; give.*EKD-HIPPYNN-002"):
        from_hippynn(tmp_path, allow_code=True)
    structure.write_bytes((folder / structure.name).read_bytes())
    with pytest.raises(HippynnError, match=r"has no best_model.pt or .*EKD-HIPPYNN-003"):
        from_hippynn(tmp_path, allow_code=True)
    with pytest.raises(HippynnError, match=r"late.pt' not found"):
        from_hippynn(tmp_path / "late.pt", allow_code=True)
    state.write_bytes((folder / state.name).read_bytes()[:1000])
    with pytest.raises(HippynnError, match=r"best_model.pt' cannot be .*EKD-HIPPYNN-005"):
        from_hippynn(tmp_path, allow_code=True)
    torch.save(Graph(0).module().state_dict(), state)
    with pytest.raises(HippynnError, match="does not hold the weights of the model"):
        from_hippynn(tmp_path, allow_code=True)
    torch.save({"training_modules": []}, structure)
    with pytest.raises(HippynnError, match=r"does not hold the weights .*EKD-HIPPYNN-004"):
        from_hippynn(tmp_path, allow_code=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sensitivity_type": "linear"}, "has sensitivities of type GaussianSensitivityModule"),
        ({"resnet": False}, r"has no residual layers \(resnet=False\)"),
        ({"resnet": 9}, r"has layers of widths \[6, 9\]"),
        ({"n_features": [6, 7], "n_interaction_layers": None}, r"has layers of widths \[6, 7\]"),
        ({"activation": torch.nn.Tanh}, r"has the activation Tanh\(\)"),
        ({"activation": torch.nn.Softplus(beta=2)}, "has the activation Softplus"),
        ({"n_sensitivities": 1}, "n_sensitivities' = 1"),
        ({"dist_soft_max": 5.0}, "soft_min < soft_max <= cutoff is required"),
        ({"possible_species": [0, 1, 6, 150]}, "no element has atomic number 150"),
        ({"possible_species": [1, 6, 7, 8]}, "must begin with 0, the padding"),
        ({"dtype": torch.float16}, "the weights are torch.float16"),
    ],
    ids=str,
)
def test_networks_that_ekd_has_no_place_for(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HippynnError, match=message):
        from_hippynn(Graph(1, **settings).module())


def test_layers_that_differ(small_dataset: Dataset) -> None:
    graph = Graph()
    layers = graph.network.torch_module.interaction_layers
    layers[1].cusp_reg = 0.5
    with pytest.raises(HippynnError, match=r"several values of cusp_reg.*EKD-HIPPYNN-007"):
        from_hippynn(graph.module())
    layers[1].cusp_reg = layers[0].cusp_reg
    layers[1].sensitivity.cutoff.hard_max_dist = 3.9
    with pytest.raises(HippynnError, match="has several cutoffs"):
        from_hippynn(graph.module())
    layers[1].sensitivity.cutoff = torch.nn.Identity()
    with pytest.raises(HippynnError, match="is cut off by Identity"):
        from_hippynn(graph.module())


def test_pairs_that_end_before_the_cutoff() -> None:
    graph = Graph()
    for node in graph.network.get_all_parents():
        if hasattr(node, "dist_hard_max"):
            node.dist_hard_max = 3.5
    with pytest.raises(HippynnError, match=r"up to 3.5 Å, but the cutoff of the network is 4.0 Å"):
        from_hippynn(graph.module())


def test_something_unknown_is_found_by_comparing() -> None:
    """A layer that computes something else under a known name."""
    graph = Graph()
    term = graph.energy.torch_module
    term.forward = lambda *arguments: [2 * x for x in HEnergy.forward(term, *arguments)[:1]]
    with pytest.raises(HippynnError, match=r"the energies of the conv.* differ .*EKD-HIPPYNN-009"):
        from_hippynn(graph.module())


def test_energies_of_several_terms(small_dataset: Dataset) -> None:
    graph = Graph()
    charges = targets.HChargeNode("charges", graph.network)
    charges.torch_module.double()
    with pytest.raises(HippynnError, match=r"has 'charges' \(HChargeNode\).* the option 'energy'"):
        from_hippynn(graph.module(charges.atom_charges))
    assert_same(from_hippynn(graph.module(charges.atom_charges), energy="E"), graph, small_dataset)

    second = targets.HEnergyNode("second", graph.network)
    with pytest.raises(HippynnError, match=r"has 2 energies: 'energy', 'second.*EKD-HIPPYNN-008"):
        from_hippynn(graph.module(second.mol_energy))
    with pytest.raises(HippynnError, match=r"has no energy 'third'.*: 'energy', 'second'"):
        from_hippynn(graph.module(second.mol_energy), energy="third")
    scaled = graph.energy.mol_energy * 2.0
    with pytest.raises(HippynnError, match="cannot determine which of them"):
        from_hippynn(graph.module(scaled))


def test_what_is_no_model() -> None:
    with pytest.raises(HippynnError, match=r"a Linear is not a hippynn model .*EKD-HIPPYNN-006"):
        from_hippynn(torch.nn.Linear(1, 1))
    graph = Graph()
    only_charges = targets.HChargeNode("charges", graph.network)
    with pytest.raises(HippynnError, match="has no HEnergyNode or AtomizationEnergyNode"):
        from_hippynn(GraphModule(graph.inputs, [only_charges.atom_charges]))
    with pytest.raises(HippynnError, match="predicts 2 targets; an energy is one number"):
        from_hippynn(Graph(term_settings={"module_kwargs": {"n_target": 2}}).energy)


def test_without_hippynn(monkeypatch: pytest.MonkeyPatch, runner: CliRunner) -> None:
    monkeypatch.setitem(sys.modules, "hippynn", None)
    result = runner.invoke(app, ["import-hippynn", "folder"])
    assert result.exit_code == 1
    assert "install it with pip install 'ekd[hippynn]'" in result.output
    assert "[EKD-HIPPYNN-001]" in result.output


def test_kernels_of_hippynn_stay_as_they_were() -> None:
    marks = {name: object() for name in ("envsum", "sensesum", "featsum")}
    with pytest.MonkeyPatch.context() as patch:
        for name, mark in marks.items():
            patch.setattr(hippynn.custom_kernels, name, mark)
        from_hippynn(Graph().energy)
        assert {name: getattr(hippynn.custom_kernels, name) for name in marks} == marks


def test_model_of_periodic_cells() -> None:
    """Periodic pairs are found by another node; only the weights matter."""
    model = from_hippynn(Graph(periodic=True).energy)
    molecule = from_hippynn(Graph(periodic=False).energy)
    assert model.sha256 == molecule.sha256


def test_import_of_hippynn_only_when_used() -> None:
    code = "import sys, ekd.interop; assert 'hippynn' not in sys.modules; assert ekd.from_hippynn"
    subprocess.run([sys.executable, "-c", code], check=True)
