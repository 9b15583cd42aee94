"""``prepare_dataset``: selection, warnings and errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ekd.data import Dataset, load_dataset, prepared
from ekd.errors import ConfigError, DataError, EKDError
from ekd.preparation import Summary, prepare_dataset
from ekd.preparation.staging import Staging
from ekd.units import BOHR
from systems import methanol, triclinic_crystal, water
from tolerances import tolerance

KEY = "ccsd(t)_ccpvdz.energy"


def run(inputs: Any, output: Path, *arguments: Any, **keywords: Any) -> tuple[Summary, Dataset]:
    """Prepare data and read the result."""
    summary = prepare_dataset(inputs, output, *arguments, **keywords, progress=False)
    return summary, load_dataset(output)


def write_frames(path: Path, frames: list[Atoms], energies: Any = None) -> Path:
    """Write extended XYZ with ``energy``, and with ``forces`` if a frame has the array ``f``."""
    for index, frame in enumerate(frames):
        forces = frame.arrays.pop("f", None)
        energy = -10.0 - 0.01 * index if energies is None else energies[index]
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    ase.io.write(path, frames, format="extxyz")
    return path


def refusal(*arguments: Any, kind: type[Exception] = DataError, **keywords: Any) -> str:
    """The error message."""
    with pytest.raises(kind) as error:
        prepare_dataset(*arguments, **keywords, progress=False)
    assert "\n" not in str(error.value)
    return error.value.message


# ------------------------------------------------------------------------------------- content


@pytest.mark.usefixtures("drawn")
def test_shipped_data(training_file: Path, training_dataset: Dataset, tmp_path: Path) -> None:
    summary, dataset = run(training_file, tmp_path / "a.h5", KEY)
    assert dataset.fingerprint == summary.fingerprint == training_dataset.fingerprint
    assert dataset.groups.tolist() == training_dataset.groups.tolist()
    assert dataset.provenance.level_of_theory == training_dataset.provenance.level_of_theory
    assert summary.n_configs == len(training_dataset)
    assert summary.n_formulas == 19
    assert sum(summary.elements.values()) == summary.n_atoms == training_dataset.n_atoms
    assert set(summary.dropped.values()) == {0}
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.png"]


def test_forces_belong_to_the_energies(test_file: Path, tmp_path: Path) -> None:
    """True for the shipped set; reversed and scaled forces are detected."""
    forces = "ccsd(t)_ccpvdz.forces"
    summary, dataset = run(test_file, tmp_path / "a.h5", KEY, forces)
    expected = load_dataset(test_file, KEY, forces)
    np.testing.assert_array_equal(dataset.forces, expected.forces)
    assert summary.work is not None
    assert summary.work["correlation"] > 0.9
    assert 0.8 < summary.work["ratio"] < 1.2
    assert not any("gradients" in warning for warning in summary.warnings)
    turned, _ = run(test_file, tmp_path / "b.h5", KEY, forces, gradients=True)
    assert any(
        "contains gradients; reverse their sign with --gradients" in warning
        for warning in turned.warnings
    )
    mixed, _ = run(scaled_forces(test_file, tmp_path / "x.h5", 4.0), tmp_path / "c.h5", KEY, forces)
    assert any("both in the same unit?" in warning for warning in mixed.warnings)
    for unit, what in ((BOHR, "small"), (1 / BOHR, "large")):
        other, _ = run(
            scaled_forces(test_file, tmp_path / "y.h5", unit), tmp_path / "d.h5", KEY, forces,
            overwrite=True,
        )  # fmt: skip
        assert any(f"too {what} by the length of a Bohr" in text for text in other.warnings)


def scaled_forces(source: Path, path: Path, factor: float) -> Path:
    """The shipped test set with other forces, in neighboring configurations that are near."""
    with h5py.File(source) as file, h5py.File(path, "w") as scaled:
        for name, group in file.items():
            for key, array in group.items():
                scaled[f"{name}/{key}"] = array[()] * (factor if key.endswith("forces") else 1)
    return path


def test_several_files_of_several_formats(tmp_path: Path) -> None:
    """Keys, units and formats are given once per input, in the order of the inputs."""
    one = write_frames(tmp_path / "one.xyz", [water(0), methanol(1)])
    positions, energies = np.arange(18.0).reshape(3, 2, 3), np.array([-5.0, np.nan, -6.0])
    np.savez(tmp_path / "two.npz", R=positions, z=[7, 7], E=energies, e_unit="eV")
    summary, dataset = run(
        [one, tmp_path / "two.npz"],
        tmp_path / "a.h5",
        ["energy", "E"],
        energy_unit=["meV", None],
        level_of_theory="CCSD(T)",
    )
    np.testing.assert_allclose(dataset.energies, [-0.01, -0.01001, -5.0, -6.0], rtol=1e-12)
    assert dataset.groups.tolist() == ["H2O", "CH4O", "N2", "N2"]
    assert dataset.provenance.n_dropped == summary.dropped["no_energy"] == 1
    sources = prepared.read_header(tmp_path / "a.h5").preparation["sources"]
    assert [source["n_without_energy"] for source in sources] == [0, 1]
    assert [source["name"] for source in sources] == ["one.xyz", "two.npz"]


def test_merging_prepared_files(tmp_path: Path) -> None:
    raw = [
        write_frames(tmp_path / "a.xyz", [water(0), triclinic_crystal(0)]),
        write_frames(tmp_path / "b.xyz", [methanol(0)]),
    ]
    whole, expected = run(raw, tmp_path / "whole.h5")
    for path in raw:
        run(path, path.with_suffix(".h5"))
    merged, found = run([path.with_suffix(".h5") for path in raw], tmp_path / "merged.h5")
    assert merged.fingerprint == whole.fingerprint
    assert found.groups.tolist() == expected.groups.tolist()


def test_forces_are_kept_where_all_have_them(tmp_path: Path) -> None:
    frames = [water(0), water(1)]
    frames[0].arrays["f"] = np.ones((3, 3))
    with_forces = write_frames(tmp_path / "f.xyz", frames[:1])
    without = write_frames(tmp_path / "e.xyz", frames[1:])
    _, dataset = run([with_forces, without], tmp_path / "a.h5", forces=["forces", None])
    assert dataset.forces is None
    assert len(dataset) == 2


def test_reference_energies_are_those_of_the_dataset(
    training_file: Path, training_dataset: Dataset, tmp_path: Path
) -> None:
    from ekd.data import fit_reference_energies

    summary, _ = run(training_file, tmp_path / "a.h5", KEY)
    expected = fit_reference_energies(training_dataset)
    np.testing.assert_allclose(
        list(summary.reference_energies.values()),
        list(expected.values()),
        **tolerance("least_squares").bounds,
    )


# ------------------------------------------------------------------------------------ dropping


def turned(atoms: Atoms, seed: int) -> Atoms:
    """Rotate and shift a structure, and change the order of its hydrogen atoms."""
    generator = np.random.default_rng(seed)
    copy = atoms.copy()
    copy.rotate(generator.uniform(0, 360), generator.normal(size=3))
    copy.translate(generator.normal(size=3))
    return copy[sorted(range(len(copy)), key=lambda i: (copy.numbers[i], generator.random()))]


def test_duplicates(tmp_path: Path) -> None:
    crystal = triclinic_crystal(0)
    shifted = crystal.copy()
    shifted.translate([0.3, -0.2, 5.0])
    shifted.wrap()
    strained = crystal.copy()
    strained.set_cell(crystal.cell * 1.001, scale_atoms=True)
    frames = [
        water(0),
        crystal,
        methanol(0),
        turned(water(0), 1),  # duplicate of 0
        shifted,  # duplicate of 1
        strained,
        turned(methanol(0), 2),  # duplicate of 2 with another energy
        water(1),
        turned(water(0), 3),  # duplicate of 0
    ]
    energies = [-1.0, -2.0, -3.0, -1.0, -2.0, -2.1, -3.5, -1.1, -1.0]
    path = write_frames(tmp_path / "x.xyz", frames, energies)
    summary, dataset = run(path, tmp_path / "kept.h5")
    assert len(dataset) == 9
    assert summary.found["duplicates"] == 4
    assert summary.found["conflicting_duplicates"] == 1
    assert any("--drop-duplicates" in warning for warning in summary.warnings)
    assert any("one level of theory?" in warning for warning in summary.warnings)
    summary, dataset = run(path, tmp_path / "dropped.h5", drop_duplicates=True)
    assert dataset.energies.tolist() == [-1.0, -2.0, -3.0, -2.1, -1.1]
    assert summary.dropped["duplicates"] == dataset.provenance.n_dropped == 4
    assert not any("--drop-duplicates" in warning for warning in summary.warnings)


def many_waters(n: int = 60) -> tuple[list[Atoms], np.ndarray]:
    """Water around its minimum, with energies that scatter by some meV."""
    energies = -10.0 + 0.01 * np.random.default_rng(0).normal(size=n)
    return [water(seed) for seed in range(n)], energies


@pytest.mark.usefixtures("drawn")
def test_energy_outliers(tmp_path: Path) -> None:
    frames, energies = many_waters()
    energies[17] += 3.0
    path = write_frames(tmp_path / "x.xyz", [*frames, methanol(0)], [*energies, -25.0])
    summary, _ = run(path, tmp_path / "kept.h5")
    assert summary.found["energy_outliers"] == 1
    assert summary.dropped["outliers"] == 0
    assert any("--drop-outliers" in warning for warning in summary.warnings)
    summary, dataset = run(path, tmp_path / "dropped.h5", drop_outliers=True)
    np.testing.assert_allclose(dataset.energies[:-1], np.delete(energies, 17), rtol=1e-12)
    assert len(dataset) == 60  # a single formula cannot be an outlier of itself
    assert summary.dropped["outliers"] == 1
    summary, dataset = run(path, tmp_path / "all.h5", drop_outliers=True, outlier_deviations=1e6)
    assert summary.dropped["outliers"] == 0


def test_short_contacts(tmp_path: Path) -> None:
    frames, energies = many_waters()
    frames[5].positions[1] = frames[5].positions[0] + [0.0, 0.3, 0.0]
    path = write_frames(tmp_path / "x.xyz", frames, energies)
    summary, _ = run(path, tmp_path / "kept.h5")
    assert summary.found["short_contacts"] == 1
    assert summary.contacts["H-O"] == pytest.approx(0.3)
    _, dataset = run(path, tmp_path / "dropped.h5", drop_outliers=True)
    assert len(dataset) == 59
    _, dataset = run(path, tmp_path / "near.h5", drop_outliers=True, min_distance=0.2)
    assert len(dataset) == 60


@pytest.mark.parametrize("periodic", [False, True])
def test_atoms_on_top_of_each_other(tmp_path: Path, periodic: bool) -> None:
    frames, energies = many_waters()
    frames[5].positions[1] = frames[5].positions[0]
    if periodic:
        frames[5].set_cell(5 * np.eye(3))
        frames[5].pbc = True
    path = write_frames(tmp_path / "x.xyz", frames, energies)
    message = refusal(path, tmp_path / "a.h5")
    assert "1 configurations have atoms on top of each other, the first one in 'H2O'" in message
    _, dataset = run(path, tmp_path / "a.h5", drop_outliers=True)
    assert len(dataset) == 59


def test_first_of_its_kind_is_an_outlier(tmp_path: Path) -> None:
    """Of two equal geometries, the first has an impossible energy, so the second is kept."""
    frames, energies = many_waters()
    frames[30] = turned(frames[3], 0)
    energies[30] = energies[3]
    energies[3] += 5.0
    path = write_frames(tmp_path / "x.xyz", frames, energies)
    summary, dataset = run(path, tmp_path / "a.h5", drop_outliers=True, drop_duplicates=True)
    assert len(dataset) == 59
    assert summary.dropped["duplicates"] == 0
    assert np.isclose(dataset.energies, energies[30], rtol=1e-12).sum() == 1


def test_incomplete_configurations(tmp_path: Path) -> None:
    frames = [water(seed) for seed in range(6)]
    for index, frame in enumerate(frames):
        if index != 1:
            frame.arrays["f"] = np.ones((3, 3))
    frames[2].arrays["f"][0, 0] = np.nan
    frames[3].positions[0, 0] = np.inf
    frames[4].pbc = True
    path = write_frames(tmp_path / "x.xyz", frames)
    message = refusal(path, tmp_path / "a.h5", forces="forces")
    assert message.startswith("4 configurations with an energy cannot be used: 1 with positions")
    assert "2 with no finite forces, 1 with lattice vectors" in message
    assert message.endswith("--drop-incomplete leaves them out")
    summary, dataset = run(path, tmp_path / "a.h5", forces="forces", drop_incomplete=True)
    assert dataset.energies.tolist() == [-10.0, -10.05]
    assert summary.dropped["incomplete"] == 4
    assert dataset.cells is None  # none of the remaining configurations is periodic


def test_nothing_left(tmp_path: Path) -> None:
    frames = [water(0)]
    path = write_frames(tmp_path / "x.xyz", frames)
    message = refusal(path, tmp_path / "a.h5", drop_outliers=True, min_distance=5.0)
    assert message == "no configuration is left after dropping; loosen the limits"


# ------------------------------------------------------------------------------------- resuming


def test_once_more_returns_what_is_there(training_file: Path, tmp_path: Path) -> None:
    summary, _ = run(training_file, tmp_path / "a.h5", KEY)
    before = (tmp_path / "a.h5").stat().st_mtime_ns
    again, _ = run(training_file, tmp_path / "a.h5", KEY)
    assert again == summary
    assert (tmp_path / "a.h5").stat().st_mtime_ns == before


def test_other_options_are_in_the_way(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "x.xyz", [water(0), water(0)])
    run(path, tmp_path / "a.h5")
    message = refusal(path, tmp_path / "a.h5", drop_duplicates=True)
    assert "exists and has other inputs or options" in message
    _, dataset = run(path, tmp_path / "a.h5", drop_duplicates=True, overwrite=True)
    assert len(dataset) == 1
    (tmp_path / "b.h5").write_text("precious")
    assert "exists and is no prepared file" in refusal(path, tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_text() == "precious"


def test_interrupted_reading_goes_on(
    training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed data are not read again, and the result is the same."""
    from ekd.data.readers import hdf5_groups
    from ekd.preparation import staging

    reference, _ = run(training_file, tmp_path / "reference.h5", KEY)
    monkeypatch.setattr(staging, "SECONDS_PER_COMMIT", 0.0)
    starts: list[int] = []
    original = hdf5_groups.GroupSource.blocks

    def stops(self: Any, start: int = 0) -> Any:
        starts.append(start)
        for index, block in enumerate(original(self, start)):
            if index == 7 and len(starts) < 3:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(hdf5_groups.GroupSource, "blocks", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(training_file, tmp_path / "a.h5", KEY)
    summary, _ = run(training_file, tmp_path / "a.h5", KEY)
    assert starts[0] == 0 < starts[1] < starts[2]
    assert summary.fingerprint == reference.fingerprint
    assert not (tmp_path / ".a.h5.work").exists()


def test_leftovers_of_another_request_are_not_used(
    training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit was given when the run was interrupted, but not when it continued."""
    from ekd.preparation import preparation_job

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation_job, "analyse", stop)
        with pytest.raises(KeyboardInterrupt):
            run(training_file, tmp_path / "a.h5", KEY, energy_unit="Hartree")
    assert (tmp_path / ".a.h5.work").exists()
    _, dataset = run(training_file, tmp_path / "a.h5", KEY)
    assert dataset.fingerprint == load_dataset(training_file, KEY).fingerprint


def labelled(path: Path) -> Path:
    """Frames with types, a second energy, stress, charges and a method."""
    frames = [water(seed) for seed in range(6)]
    for index, frame in enumerate(frames):
        frame.info |= {
            "config_type": "liquid" if index % 2 else "dimer",
            "dft_energy": -11.0,
            "charge": int(index == 5),
            "method": "MP2" if index < 4 else "HF",
        }
        frame.calc = SinglePointCalculator(frame, energy=-10.0 - index / 7, stress=np.ones(6))
    ase.io.write(path, frames, format="extxyz")
    return path


def test_what_a_file_says_of_its_configurations(tmp_path: Path) -> None:
    """Selections are counted, types are listed, and stress is not used."""
    path = labelled(tmp_path / "x.xyz")
    assert "'method': 'MP2' (4), 'HF' (2)" in refusal(path, tmp_path / "a.h5")
    where = {"method": ["MP2", "HF"]}
    assert "1 of 6 configurations" in refusal(path, tmp_path / "a.h5", where=where)
    summary, dataset = run(path, tmp_path / "a.h5", where=where, states="neutral")
    assert len(dataset) == 5
    assert summary.dropped["other_charge_or_spin"] == dataset.provenance.n_dropped == 1
    assert summary.types == {"config_type": {"dimer": 3, "liquid": 2}}
    assert summary.not_read == {"stress": 6}
    assert any("'dft_energy' in 6 configurations" in warning for warning in summary.warnings)
    where["config_type"] = ["liquid"]
    summary, dataset = run(path, tmp_path / "a.h5", where=where, states="neutral", overwrite=True)
    assert len(dataset) == 2
    assert summary.dropped["not_selected"] == 3
    assert summary.dropped["no_energy"] == 0
    with pytest.raises(DataError, match="not contain the keys that where and states") as error:
        prepare_dataset(tmp_path / "a.h5", tmp_path / "b.h5", states="all", progress=False)
    assert error.value.code == "EKD-DATA-085"


def test_nothing_is_forgotten_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption, the summary is that of an uninterrupted run."""
    from ekd.preparation import preparation_job

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    path, options = labelled(tmp_path / "x.xyz"), {"where": {"method": "MP2"}}
    whole, _ = run(path, tmp_path / "whole.h5", **options)
    with monkeypatch.context() as patch:
        patch.setattr(preparation_job, "analyse", stop)
        with pytest.raises(KeyboardInterrupt):
            run(path, tmp_path / "parts.h5", **options)
    parts, _ = run(path, tmp_path / "parts.h5", **options)
    assert parts.to_json() == whole.to_json()
    assert whole.dropped["not_selected"] == 2


# ------------------------------------------------------------------------------------ refusals


def test_impossible_calls(training_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.h5"
    two = [training_file, training_file]
    for arguments, keywords, expected in (
        (([], output), {}, "no input; give one or more files"),
        ((training_file, tmp_path / "a.npz", KEY), {}, "must end in .h5"),
        ((training_file, training_file, KEY), {}, "is both input and output"),
        ((two, output, [KEY] * 3), {}, "energy is given 3 times for 2 inputs"),
        ((training_file, output, KEY), {"min_distance": 0.0}, "min_distance is 0.0; expected"),
        ((training_file, output, KEY), {"outlier_deviations": -1.0}, "outlier_deviations is -1.0"),
    ):
        assert expected in refusal(*arguments, kind=ConfigError, **keywords)
    assert "absent.h5' not found" in refusal(tmp_path / "absent.h5", output)


def test_levels_of_theory_do_not_mix(training_file: Path, tmp_path: Path) -> None:
    other = write_frames(tmp_path / "x.xyz", [water(0)])
    message = refusal([training_file, other], tmp_path / "a.h5", [KEY, "energy"])
    assert "different levels of theory: 'CCSD(T)/cc-pVDZ" in message
    assert "'energy' (x.xyz)" in message
    assert message.endswith("name it with --level-of-theory")


def test_input_without_energies(training_file: Path, tmp_path: Path) -> None:
    frame = water(0)
    frame.info["e"] = np.nan
    ase.io.write(tmp_path / "x.xyz", frame, format="extxyz")
    message = refusal(tmp_path / "x.xyz", tmp_path / "a.h5", "e")
    assert "all 1 values of 'e'" in message
    (tmp_path / "x.xyz").write_text("")
    assert "x.xyz' has no configurations" in refusal(tmp_path / "x.xyz", tmp_path / "a.h5")


def test_two_at_a_time(training_file: Path, tmp_path: Path) -> None:
    with Staging(tmp_path / ".a.h5.work", {}, has_forces=False):
        message = refusal(training_file, tmp_path / "a.h5", KEY, kind=EKDError)
    assert "another process is writing to" in message
    assert f"process {os.getpid()} on " in message


def test_disk_that_is_full(
    training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is explained, nothing is lost, and the same call continues afterwards."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prepared, "write", full)
        message = refusal(training_file, tmp_path / "a.h5", KEY)
    assert "cannot write" in message
    assert "No space left on device" in message
    assert not (tmp_path / "a.h5").exists()
    summary, _ = run(training_file, tmp_path / "a.h5", KEY)
    assert summary.n_configs == 3414
