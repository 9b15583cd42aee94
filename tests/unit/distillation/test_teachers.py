"""ASE calculators as teachers: import, creation, identification and errors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ekd.data import Dataset
from ekd.distillation import ASETeacher
from ekd.errors import TeacherError
from untrained import ensemble, teacher


def test_calculator_of_ase(small_dataset: Dataset) -> None:
    data = small_dataset.subset([2, 30])
    found = ASETeacher("ase.calculators.emt:EMT", {"asap_cutoff": True}).predict(data)
    for index in range(2):
        atoms = data.atoms(index)
        atoms.calc = EMT(asap_cutoff=True)
        assert found.energies[index] == atoms.get_potential_energy()
        np.testing.assert_array_equal(found.forces[data.config_index == index], atoms.get_forces())


def test_module_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_teacher_module.py").write_text("from calculators import Springs as Mine\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = ASETeacher("my_teacher_module:Mine", folder=tmp_path)
    assert type(found.make()).__name__ == "Springs"
    before = found.sha256
    with (tmp_path / "my_teacher_module.py").open("a") as file:
        file.write("# other weights\n")
    assert ASETeacher("my_teacher_module:Mine", folder=tmp_path).sha256 != before


def test_identity(tmp_path: Path) -> None:
    file = tmp_path / "factor"
    file.write_text("2.0")

    def identity(k: float = 1.0, name: str = "calculators:Springs", path: Path = file) -> str:
        return ASETeacher(name, {"k": k}, {"path": path}).sha256

    first = identity()
    assert identity() == first
    copy = tmp_path / "copy"
    copy.write_text("2.0")
    assert identity(path=copy) == first  # the content of the file matters, not its path
    file.write_text("3.0")
    others = {identity(), identity(k=2.0), identity(name="calculators:Drifting"), first}
    assert len(others) == 4


@pytest.mark.parametrize(
    ("calculator", "arguments", "message"),
    [
        ("calculators.Springs", {}, "names no calculator; write 'module:Class'"),
        ("calculators:", {}, "names no calculator; write 'module:Class'"),
        (
            "no_such_module:Calculator",
            {},
            r"'no_such_module' .* cannot be imported \(ModuleNotFoundError.*install its package",
        ),
        (
            "calculators:Sprigns",
            {},
            "has no class or function 'Sprigns'; its classes are .*Springs",
        ),
        ("calculators:Springs.k.x", {}, r"has no class or function 'Springs\.k\.x'"),
        ("calculators:springs", {"stiffness": 1}, "cannot be made with the arguments .*TypeError"),
        (
            "calculators:EnergyOnly",
            {},
            "makes a EnergyOnly that provides energy; a teacher needs .* energy and forces",
        ),
        ("calculators:nothing", {}, "makes a NoneType that provides nothing"),
        ("calculators:Springs", {"k": object()}, "are not plain values"),
    ],
)
def test_calculators_that_cannot_be_used(
    calculator: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(TeacherError, match=message):
        ASETeacher(calculator, arguments).check([1, 8])


def test_module_that_fails_on_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_teacher_module.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(TeacherError, match=r"cannot be imported \(ZeroDivisionError"):
        ASETeacher("broken_teacher_module:X", folder=tmp_path).make()


def test_missing_file() -> None:
    with pytest.raises(TeacherError, match=r"a file of the teacher .* cannot be read: .*absent"):
        ASETeacher("calculators:Springs", files={"path": "absent"}).check([1])


def test_networks_of_different_elements_and_cutoffs_in_one_ensemble(small_dataset: Dataset) -> None:
    """Each network is evaluated with its own neighbors and order of elements."""
    members = [teacher(0), teacher(1, elements=[8, 7, 6, 1]), teacher(2, cutoff=3.2)]
    mixed = ensemble(0)
    mixed.members.extend(members)
    predicted = mixed.predict(small_dataset)
    for found, member in zip(predicted.members, members, strict=True):
        np.testing.assert_array_equal(found.forces, member.predict(small_dataset).forces)
