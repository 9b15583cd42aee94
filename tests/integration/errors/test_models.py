"""Every error of structures, exported models, devices and the C interface."""

from __future__ import annotations

import ctypes
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

import ekd
from c_interface import PREFIX, Failed, Options, Program, Results
from ekd.dynamics.replicas import Flock
from ekd.export import upgrade_model
from ekd.inference import SelfTestReport, read_metadata
from ekd.lammps import inputs
from ekd.neighbor_list import neighbor_list
from error_triggers import expect, refused
from models import (
    other_format,
    pairs_of,
    random_committee,
    random_model,
    rewritten,
    with_other_class,
    without_weights,
)
from untrained import teacher

HAS_GPU = importlib.util.find_spec("torch") is not None and Path("/dev/nvidiactl").exists()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model") / "student.pt")


@pytest.fixture
def model(exported: Path) -> ekd.ExportedModel:
    return ekd.ExportedModel(exported)


# ---- structures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "atoms"),
    [
        ("EKD-STRUCTURE-002", Atoms()),
        ("EKD-STRUCTURE-003", molecule("SiH4")),
        ("EKD-STRUCTURE-008", Atoms("H2")),
        ("EKD-STRUCTURE-010", Atoms("H", pbc=[True, False, False])),
        ("EKD-STRUCTURE-011", Atoms("H", cell=np.ones((3, 3)), pbc=True)),
        ("EKD-STRUCTURE-012", Atoms("H", [[np.nan, 0, 0]])),
        ("EKD-STRUCTURE-013", Atoms("H", cell=np.eye(3) * 1e-3, pbc=True)),
    ],
)
def test_structures(exported: Path, code: str, atoms: Atoms) -> None:
    atoms.calc = ekd.EKDCalculator(exported)
    with expect(code):
        atoms.get_potential_energy()


def test_arrays(model: ekd.ExportedModel, exported: Path) -> None:
    with expect("EKD-STRUCTURE-001"):
        ekd.EKDCalculator(exported).get_property("energy")
    with expect("EKD-STRUCTURE-004"):
        model.evaluate(np.array([[8]]), np.zeros((1, 3)))
    with expect("EKD-STRUCTURE-005"):
        model.evaluate_arrays([8], np.zeros((1, 3)), [0, 2])
    species, pairs = pairs_of(molecule("H2"))
    with expect("EKD-STRUCTURE-005"):
        model.evaluate_pairs(species, replace(pairs, pairs=pairs.pairs[:, ::-1].copy()))
    with expect("EKD-STRUCTURE-006"):
        model.evaluate_batch([3])
    with expect("EKD-STRUCTURE-007"):
        model.evaluate_batch(molecule("H2O"))
    with expect("EKD-CONFIG-011"):
        neighbor_list(np.zeros((1, 3)), -1.0)
    with expect("EKD-CONFIG-011"):
        ekd.EKDCalculator(exported, skin=-0.5)


def test_dynamics(tmp_path: Path) -> None:
    with expect("EKD-STRUCTURE-014"):
        inputs.write_data(tmp_path / "data", bulk("Si"), ["Si"])
    with expect("EKD-STRUCTURE-003"):
        ekd.stability(teacher(0), "SiH4", progress=False)

    class Lost:
        """A calculator of many copies that returns no numbers."""

        lost = (True,)
        energies = np.zeros(1)

        def calculate(self, *_: object, **__: object) -> None: ...

        def get_forces(self, atoms: Atoms) -> np.ndarray:
            return np.zeros((len(atoms), 3))

    with expect("EKD-STRUCTURE-015"):
        Flock(molecule("H2O"), Lost(), [0], 300.0)  # type: ignore[arg-type]


# ---- files ------------------------------------------------------------------------------------


def test_files(exported: Path, tmp_path: Path) -> None:
    refused("EKD-MODEL-001", "inspect", tmp_path / "absent.pt")
    with expect("EKD-MODEL-001"):
        ekd.as_calculator(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("not a model")
    refused("EKD-MODEL-002", "inspect", tmp_path / "text.pt")
    with expect("EKD-MODEL-002"):
        ekd.ExportedModel.from_content(b"something", "a name")
    (tmp_path / "short.pt").write_bytes(exported.read_bytes()[:5000])
    refused("EKD-MODEL-003", "check", tmp_path / "short.pt")
    with expect("EKD-MODEL-004"):
        read_metadata(other_format(exported, tmp_path / "future.pt", "99"))
    with expect("EKD-MODEL-010"):
        ekd.ExportedModel(exported, sha256="0" * 64)
    with expect("EKD-MODEL-011"):
        ekd.ExportedModel(exported, sha256="")

    def operators(name: str, content: bytes) -> bytes:
        if name != "extra/ekd_metadata.json":
            return content
        wanted = ["ekd::future(Tensor x) -> Tensor"]
        return json.dumps(json.loads(content) | {"required_ops": wanted}).encode()

    script = without_weights(exported, tmp_path / "script.pt")
    with expect("EKD-MODEL-005"):
        ekd.ExportedModel(rewritten(script, tmp_path / "operators.pt", operators))
    with expect("EKD-MODEL-006"):
        ekd.ExportedModel(script, device="emulated")
    with expect("EKD-MODEL-007"):
        upgrade_model(with_other_class(exported, tmp_path / "other.pt"))


def test_exported_file_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = SelfTestReport(energy=1.0, forces=0.0, virial=0.0, uncertainty=None, tolerance=1e-9)
    monkeypatch.setattr("ekd.export.torchscript.run_self_test", lambda model: wrong)
    with expect("EKD-MODEL-009"):
        random_model(tmp_path / "student.pt")


# ---- devices ----------------------------------------------------------------------------------


def test_devices(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with expect("EKD-DEVICE-001"):
        ekd.ExportedModel(exported, device="cuda:x")
    with expect("EKD-DEVICE-014"):
        ekd.ExportedModel(exported, device="warp")
    monkeypatch.setenv("EKD_TILE", "7x64")
    with expect("EKD-DEVICE-013"):
        ekd.ExportedModel(exported, device="emulated")


@pytest.mark.skipif(HAS_GPU, reason="of a computer without a GPU")
def test_no_driver(exported: Path) -> None:
    with expect("EKD-DEVICE-004"):
        ekd.ExportedModel(exported, device="cuda")


def test_wide_networks(tmp_path: Path) -> None:
    path = random_model(tmp_path / "wide.pt", n_features=256, n_interactions=2, l_max=2)
    with expect("EKD-DEVICE-011"):
        ekd.ExportedModel(path, device="emulated")


# ---- C interface ------------------------------------------------------------------------------

interface = pytest.mark.skipif(
    not (PREFIX / "lib" / "libekd.so").exists(), reason="of a folder without libekd.so"
)
WATER = ([8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])


def code_of(act: Callable[[], object]) -> str:
    """The code at the end of ``ekd_last_error``."""
    with pytest.raises(Failed) as caught:
        act()
    return caught.value.message.rpartition(" [")[2].removesuffix("]")


@interface
def test_c_interface(exported: Path, tmp_path: Path) -> None:
    program = Program(exported)
    assert code_of(lambda: Program(exported, n_threads=-1)) == "EKD-API-001"
    assert code_of(lambda: program.call("evaluate", program.model, 1, None, None, None, None,
                                        ctypes.byref(Results()))) == "EKD-API-001"  # fmt: skip
    wrong = Options()
    wrong.size = 3
    model = ctypes.c_void_p()
    path = str(exported).encode()
    assert code_of(lambda: program.call("open", path, wrong, ctypes.byref(model))) == "EKD-API-002"

    class Newer(ctypes.Structure):
        _fields_ = (("known", Options), ("unknown", ctypes.c_double))

    newer = Newer(known=Options(), unknown=1.0)
    newer.known.size = ctypes.sizeof(Newer)
    given = ctypes.cast(ctypes.pointer(newer), ctypes.POINTER(Options))
    assert code_of(lambda: program.call("open", path, given, ctypes.byref(model))) == "EKD-API-003"
    assert code_of(lambda: program.evaluate(*WATER, wanted=("energy_std",))) == "EKD-API-006"
    assert code_of(lambda: program.evaluate([200], [[0, 0, 0]])) == "EKD-STRUCTURE-003"
    assert code_of(lambda: program.evaluate([1, 1], np.zeros((2, 3)))) == "EKD-STRUCTURE-008"
    assert code_of(lambda: Program(tmp_path / "absent.pt")) == "EKD-MODEL-001"
    program.close()
    rows = ([1, 1], [0, 1], [1], [[1.0, 0.0, 0.0]])  # the second atom is a ghost
    several = Program(random_model(tmp_path / "several.pt", n_interactions=2))
    assert code_of(lambda: several.evaluate_rows(*rows)) == "EKD-API-004"
    random_committee(tmp_path / "committee.pt")
    committee = Program(tmp_path / "committee.pt")
    wanted = ("forces_std",)
    assert code_of(lambda: committee.evaluate_rows(*rows, wanted=wanted)) == "EKD-API-005"
