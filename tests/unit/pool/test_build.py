from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from rich.console import Console

import ekd
from ekd.config import PoolConfig
from ekd.data import Dataset, prepared
from ekd.distillation.parts import Parts
from ekd.errors import ConfigError, DataError, StructureError, TeacherError
from ekd.pool import Pool, build_pool
from ekd.pool.build import parts_folder
from ekd.pool.recipe import KINDS
from pool_calculators import DEATH, PairSprings

Settings = dict[str, Any]


@pytest.fixture
def data(small_dataset: Dataset) -> Dataset:
    return small_dataset


def same(one: Path, other: Path) -> bool:
    return all(
        one.with_suffix(suffix).read_bytes() == other.with_suffix(suffix).read_bytes()
        for suffix in (".h5", ".json", ".png")
    )


@pytest.mark.usefixtures("with_picture")
def test_what_a_pool_holds(data: Dataset, config: PoolConfig, tmp_path: Path) -> None:
    path = tmp_path / "pool.h5"
    pool = build_pool(data, config, path=path, progress=False)
    made = {kind: count.made for kind, count in pool.summary.counts.items()}
    assert made == {
        "molecule": 3, "data": 3, "rattled": 12, "stretched": 9, "cluster": 8, "md": 12,
    }  # fmt: skip
    loaded = ekd.load_dataset(path)
    assert loaded.forces is not None
    assert set(loaded.groups) <= set(KINDS)
    assert (
        len(loaded) == pool.summary.n_configs == sum(c.kept for c in pool.summary.counts.values())
    )
    assert loaded.provenance.n_dropped == pool.summary.n_dropped == sum(made.values()) - len(loaded)
    assert set(loaded.elements) <= set(data.elements)
    assert loaded.provenance.level_of_theory.startswith("pool_calculators:PairSprings")
    for index in range(len(loaded)):
        atoms = loaded.atoms(index)
        atoms.calc = PairSprings()
        assert loaded.energies[index] == atoms.get_potential_energy()
        rows = slice(*loaded.offsets[index : index + 2])
        np.testing.assert_array_equal(loaded.forces[rows], atoms.get_forces())
    assert pool.data.fingerprint == loaded.fingerprint == pool.summary.fingerprint
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sorted(tmp_path.iterdir()) == [path.with_suffix(s) for s in (".h5", ".json", ".png")]


def test_the_summary_comes_back(data: Dataset, config: PoolConfig, tmp_path: Path) -> None:
    path = tmp_path / "pool.h5"
    pool = build_pool(data, config, path=path, progress=False)
    assert Pool.load(path).summary == pool.summary
    assert json.loads(path.with_suffix(".json").read_text())["n_configs"] == len(pool.data)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(pool.summary.table())
    text = console.export_text()
    assert "stretched" in text
    assert "force too large" in text
    assert pool.summary.notes[0].startswith(f"{len(pool.data):,} configurations from 3 molecules")


def test_any_number_of_workers(data: Dataset, small: Settings, tmp_path: Path) -> None:
    paths = [tmp_path / name / "pool.h5" for name in ("one", "two")]
    for n_workers, path in enumerate(paths, start=1):
        build_pool(data, PoolConfig(**small | {"n_workers": n_workers}), path=path, progress=False)
    assert same(*paths)


def test_the_seed_decides(data: Dataset, config: PoolConfig, tmp_path: Path) -> None:
    pools = [
        build_pool(data, config, path=tmp_path / f"{seed}.h5", seed=seed, progress=False).data
        for seed in (0, 1)
    ]
    assert pools[0].fingerprint != pools[1].fingerprint
    # The molecules are the same.
    np.testing.assert_array_equal(pools[0].positions[:3], pools[1].positions[:3])


def test_an_interruption_costs_a_chunk_and_changes_nothing(
    data: Dataset, config: PoolConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = tmp_path / "whole" / "pool.h5", tmp_path / "pool.h5"
    build_pool(data, config, path=whole, progress=False)
    saved: list[int] = []
    save = Parts.save

    def counted(self: Parts, number: int, arrays: dict[str, Any]) -> None:
        if len(saved) == 4:
            raise KeyboardInterrupt
        save(self, number, arrays)
        saved.append(number)

    monkeypatch.setattr(Parts, "save", counted)
    with pytest.raises(KeyboardInterrupt):
        build_pool(data, config, path=path, progress=False)
    assert not path.exists()
    first = list(saved)
    saved.clear()
    monkeypatch.setattr(Parts, "save", lambda *a: (save(*a), saved.append(a[1]))[0])
    build_pool(data, config, path=path, resume=True, progress=False)
    assert not set(first) & set(saved)
    assert same(path, whole)
    assert not parts_folder(path).exists()
    # The pool is complete, so nothing is calculated again.
    saved.clear()
    build_pool(data, config, path=path, resume=True, progress=False)
    assert saved == []


def test_a_worker_that_dies(
    data: Dataset, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PoolConfig(**small | {"n_workers": 2})
    whole, path = tmp_path / "whole" / "pool.h5", tmp_path / "pool.h5"
    build_pool(data, PoolConfig(**small), path=whole, progress=False)
    monkeypatch.setenv(DEATH, f"{tmp_path / 'count'}:60")
    with pytest.raises(TeacherError, match=r"was lost.*resume=True"):
        build_pool(data, config, path=path, progress=False)
    assert list(parts_folder(path).glob("part-*.npz"))
    monkeypatch.delenv(DEATH)
    build_pool(data, PoolConfig(**small), path=path, resume=True, progress=False)
    assert same(path, whole)


def test_other_settings_are_not_mixed_in(data: Dataset, small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "pool.h5"
    build_pool(data, PoolConfig(**small), path=path, progress=False)
    other = PoolConfig(**small | {"displacement": 0.05})
    with pytest.raises(DataError, match=r"displacement: 0.1 there, 0.05 now"):
        build_pool(data, other, path=path, resume=True, progress=False)
    with pytest.raises(DataError, match=r"seed: 0 there, 1 now"):
        build_pool(data, PoolConfig(**small), path=path, seed=1, resume=True, progress=False)
    # The number of workers does not matter, and without resume the file is replaced.
    build_pool(data, PoolConfig(**small | {"n_workers": 2}), path=path, resume=True, progress=False)
    before = path.read_bytes()
    build_pool(data, other, path=path, progress=False)
    assert path.read_bytes() != before


def test_failures_are_counted_and_left_out(data: Dataset, small: Settings, tmp_path: Path) -> None:
    calculator = small["calculator"] | {"arguments": {"fails_beyond": 9}}
    config = PoolConfig(**small | {"calculator": calculator, "molecules": ["H2O", "C2H6"]})
    pool = build_pool(data, config, path=tmp_path / "pool.h5", progress=False)
    counts = pool.summary.counts
    assert counts["cluster"].failed > 0
    assert counts["rattled"].failed == 0
    assert pool.data.n_atoms_per_config.max() <= 9
    n_failed = sum(count.failed for count in counts.values())
    message = "CalculationFailed: SCF not converged in 250 cycles"
    assert pool.summary.failures == {message: n_failed}
    assert f"{n_failed} failed: {message}" in pool.summary.notes
    for count in counts.values():
        assert count.made == count.kept + count.failed + count.too_large + count.duplicates


def test_large_forces_and_duplicates_are_counted_and_left_out(
    data: Dataset, small: Settings, tmp_path: Path
) -> None:
    twice = tmp_path / "twice.xyz"
    ase.io.write(twice, [molecule("H2O"), molecule("C2H6")])
    config = PoolConfig(**small | {"structures": [twice], "max_force": 0.2, "temperatures": []})
    pool = build_pool(data, config, path=tmp_path / "pool.h5", progress=False)
    assert pool.summary.counts["molecule"].duplicates == 1
    assert pool.summary.counts["cluster"].too_large > 0
    assert pool.summary.forces[1] <= 0.2
    tiny = PoolConfig(**small | {"max_force": 1e-6})
    with pytest.raises(DataError, match=r"geometries is left.* raise max_force"):
        build_pool(data, tiny, path=tmp_path / "none.h5", progress=False)


def test_a_calculator_that_fails_on_everything(
    data: Dataset, small: Settings, tmp_path: Path
) -> None:
    config = PoolConfig(**small | {"calculator": {"calculator": "pool_calculators:Broken"}})
    with pytest.raises(TeacherError, match=r"fails on all of 3 .* H2O: KeyError: 'no parameters'"):
        build_pool(data, config, path=tmp_path / "pool.h5", progress=False)


def test_a_history_of_the_calculator_does_not_matter(
    data: Dataset, small: Settings, tmp_path: Path
) -> None:
    pools = []
    for memory in (0.0, 0.5):
        calculator = small["calculator"] | {"arguments": {"memory": memory}}
        config = PoolConfig(**small | {"calculator": calculator})
        path = tmp_path / f"{memory}.h5"
        pools.append(build_pool(data, config, path=path, progress=False).data)
    np.testing.assert_array_equal(pools[0].energies, pools[1].energies)


def test_without_data(small: Settings, tmp_path: Path) -> None:
    pool = build_pool(None, PoolConfig(**small), path=tmp_path / "pool.h5", progress=False)
    assert "data" not in pool.summary.counts
    nothing = PoolConfig(**small | {"molecules": None})
    with pytest.raises(ConfigError, match="elements of the pool are not specified"):
        build_pool(None, nothing, path=tmp_path / "none.h5", progress=False)
    nothing = PoolConfig(**small | {"molecules": []})
    with pytest.raises(ConfigError, match="the pool has no geometry"):
        build_pool(None, nothing, path=tmp_path / "none.h5", progress=False)


def test_the_data_alone(data: Dataset, small: Settings, tmp_path: Path) -> None:
    config = PoolConfig(**small | {"molecules": [], "n_from_data": None, "duplicate_distance": 0.0})
    pool = build_pool(data, config, path=tmp_path / "pool.h5", progress=False)
    assert pool.summary.counts.keys() == {"data"}
    np.testing.assert_array_equal(pool.data.positions, data.positions)


def test_periodic_structures(data: Dataset, small: Settings, tmp_path: Path) -> None:
    path = tmp_path / "diamond.xyz"
    ase.io.write(path, bulk("C", "diamond", a=3.57, cubic=True))
    config = PoolConfig(**small | {"structures": [path], "molecules": []})
    pool = build_pool(data, config, path=tmp_path / "pool.h5", progress=False)
    made = {kind: count.made for kind, count in pool.summary.counts.items()}
    assert made == {"molecule": 1, "data": 3, "rattled": 4, "md": 4}
    assert pool.data.pbc is not None
    slab = bulk("C", "diamond", a=3.57)
    slab.pbc = (True, True, False)
    ase.io.write(path, slab)
    config = PoolConfig(**small | {"structures": [path], "calculator": {}})
    with pytest.raises(
        StructureError, match=r"periodic in some directions only.*EKD-STRUCTURE-016"
    ):
        build_pool(data, config, path=tmp_path / "pool.h5", progress=False)


def test_elements_of_the_data_alone(data: Dataset, small: Settings, tmp_path: Path) -> None:
    config = PoolConfig(**small | {"molecules": ["H2O", "CH3Cl"]})
    with pytest.raises(StructureError, match="'CH3Cl' contains Cl"):
        build_pool(data, config, path=tmp_path / "pool.h5", progress=False)


def test_bad_arguments(data: Dataset, config: PoolConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in .h5"):
        build_pool(data, config, path=tmp_path / "pool.xyz", progress=False)
    with pytest.raises(ConfigError, match="cutoff is 0"):
        build_pool(data, config, path=tmp_path / "pool.h5", cutoff=0.0, progress=False)


def test_data_are_no_pool(
    data: Dataset, config: PoolConfig, tiny_training_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "data.h5"
    ekd.prepare_dataset(tiny_training_file, path, "ccsd(t)_ccpvdz.energy", progress=False)
    with pytest.raises(DataError, match="contains data but is not a pool"):
        Pool.load(path)


def test_tblite_is_missing(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "tblite" else find(name, *a)
    )
    with pytest.raises(TeacherError, match=r"not installed; pip install 'ekd\[xtb\]'"):
        build_pool(data, path=tmp_path / "pool.h5", progress=False)


def test_gfn2(data: Dataset, small: Settings, tmp_path: Path) -> None:
    """Real GFN2-xTB: energies and forces are consistent, also in worker processes."""
    config = PoolConfig(**small | {"calculator": {}, "n_workers": 2, "n_clusters": 6})
    pool = build_pool(data, config, path=tmp_path / "pool.h5", progress=False)
    loaded = pool.data
    assert loaded.forces is not None
    assert "method=GFN2-xTB" in pool.summary.level_of_theory
    assert "tblite" in pool.summary.level_of_theory.partition("(")[2]
    assert pool.summary.n_configs > 30
    water = int(np.flatnonzero(loaded.formulas == "H2O")[0])
    assert loaded.energies[water] == pytest.approx(-137.97, abs=0.02)  # from tblite's manual
    # For water displaced along its forces, the energy difference equals the work.
    from tblite.ase import TBLite

    rattled = np.flatnonzero((loaded.groups == "rattled") & (loaded.formulas == "H2O"))[0]
    rows = slice(*loaded.offsets[rattled : rattled + 2])
    step = 0.01 * loaded.forces[rows] / np.linalg.norm(loaded.forces[rows])
    energies = []
    for sign in (-1, 1):
        atoms = loaded.atoms(int(rattled))
        atoms.positions += sign * step
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        energies.append(atoms.get_potential_energy())
    assert energies[0] - energies[1] == pytest.approx(
        2 * np.sum(step * loaded.forces[rows]), rel=1e-2
    )
    header = prepared.read_header(pool.path)
    assert header.preparation["pool"]["seed"] == 0
