"""Labeling: correct means, bitwise independent of chunks, interruptions and workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from ekd.config import WallConfig
from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.distillation import ASETeacher, Labels, MemberTeacher, label, perturb
from ekd.errors import ConfigError, DataError, EKDError, StructureError, TeacherError
from tolerances import tolerance
from untrained import ELEMENTS, ensemble, teacher

SPRINGS = ASETeacher("calculators:Springs", {"k": 0.3})


def run(teachers: Any, data: Dataset, path: Path | None = None, **settings: Any) -> Labels:
    return label(teachers, data, path, **({"n_workers": 1, "progress": False} | settings))


def springs(data: Dataset, k: float) -> tuple[np.ndarray, np.ndarray]:
    """Results of the test calculator, computed for all configurations at once."""
    n_atoms = data.n_atoms_per_config[:, None]
    centres = np.add.reduceat(data.positions, data.offsets[:-1]) / n_atoms
    shifts = data.positions - centres[data.config_index]
    return 0.5 * k * np.add.reduceat((shifts**2).sum(1), data.offsets[:-1]), -k * shifts


def test_labels_are_mean_and_spread(small_dataset: Dataset) -> None:
    teachers = ensemble()
    labels = run(teachers, small_dataset, chunk_size=7)
    expected = teachers.predict(small_dataset)
    for name in ("energies", "energies_std", "forces", "forces_std"):
        found = getattr(labels, name)
        np.testing.assert_allclose(found, getattr(expected, name), **tolerance("kernel").bounds)
    for k, member in enumerate(expected.members):
        np.testing.assert_allclose(labels.member_energies[:, k], member.energies, rtol=1e-12)
    assert labels.n_members == 3
    assert labels.data_fingerprint == small_dataset.fingerprint
    assert labels.teacher_sha256 == tuple(member.sha256 for member in teachers.members)
    assert len(set(labels.teacher_sha256)) == 3
    assert [record.name for record in labels.teachers] == ["teacher 0", "teacher 1", "teacher 2"]


def test_mixture_of_networks_and_calculators(small_dataset: Dataset) -> None:
    """Forces of all teachers are used, energies only of those at the level of the data."""
    other = ASETeacher("calculators:springs", {"k": 0.5}, use_energies=True)
    foreign = MemberTeacher(teacher(5, cutoff=3.5), use_energies=False, name="foreign")
    labels = run([ensemble(2), SPRINGS, foreign, teacher(3), other], small_dataset)
    networks = ensemble(2).predict(small_dataset).members
    fifth, third = (
        teacher(seed, cutoff=c).predict(small_dataset) for seed, c in ((5, 3.5), (3, 4))
    )
    energies_3, forces_3 = springs(small_dataset, 0.3)
    energies_5, forces_5 = springs(small_dataset, 0.5)
    forces = np.stack(
        [*(n.forces for n in networks), forces_3, fifth.forces, third.forces, forces_5]
    )
    energies = np.stack(
        [*(n.energies for n in networks), energies_3, fifth.energies, third.energies, energies_5]
    )
    bounds = tolerance("kernel").bounds
    np.testing.assert_allclose(labels.forces, forces.mean(0), **bounds)
    np.testing.assert_allclose(labels.forces_std, np.sqrt(forces.var(0).mean(1)), **bounds)
    np.testing.assert_allclose(labels.member_energies, energies.T, **bounds)
    counting = energies[[0, 1, 4, 5]]
    np.testing.assert_allclose(labels.energies, counting.mean(0), **bounds)
    np.testing.assert_allclose(labels.energies_std, counting.std(0), **bounds)
    assert [record.use_energies for record in labels.teachers] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert labels.teachers[2].name == "calculators:Springs k=0.3"


def test_calculators_alone_have_no_energy_of_the_data(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    for path in (None, tmp_path / "labels.h5"):
        labels = run(SPRINGS, small_dataset, path)
        assert labels.energies is None
        assert labels.energies_std is None
        np.testing.assert_allclose(labels.forces, springs(small_dataset, 0.3)[1], atol=1e-12)
        assert not labels.forces_std.any()


def test_any_number_of_workers_writes_the_same_file(small_dataset: Dataset, tmp_path: Path) -> None:
    teachers = [ensemble(2), ASETeacher("calculators:Drifting")]
    for n_workers in (1, 2):
        path = tmp_path / f"{n_workers}.h5"
        run(teachers, small_dataset, path, n_workers=n_workers, chunk_size=5)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.h5", "2.h5"]


def test_result_does_not_depend_on_the_threads_of_the_caller(small_dataset: Dataset) -> None:
    before, forces = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            forces.append(run(ensemble(2), small_dataset).forces)
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*forces)


KILLS = """
import os, random, signal, time
from pathlib import Path
import ekd, untrained

data = ekd.load_dataset({data!r}, energy="ccsd(t)_ccpvdz.energy").subset(range(0, 3400, 80))
extra = ekd.perturb(data, 0.02)
calculator = ekd.ASETeacher("calculators:Drifting", {{"seconds": 0.004}})
teachers = [untrained.ensemble(2), calculator]
folder = Path({folder!r})
parts = folder / "killed" / "labels.h5.parts"

def start(name, n_workers):
    process = os.fork()
    if process == 0:
        ekd.label(teachers, data, folder / name / "labels.h5", extra, chunk_size=2,
                  n_workers=n_workers, resume=True, progress=False)
        os._exit(0)
    return process

n_kills = 0
# One kill in each fifth of the 43 parts, the third of two workers, and one in what comes after.
for number, target in enumerate([*(random.randrange(8 * i, 8 * i + 8) for i in range(5)), 43]):
    process = start("killed", n_workers=2 if number == 2 else 1)
    ended = 0, 0
    while ended[0] == 0 and len(list(parts.glob("part-*.npz"))) < target:
        time.sleep(0.001)
        ended = os.waitpid(process, os.WNOHANG)
    time.sleep(random.uniform(0, 0.02))
    if ended[0] == 0:
        os.kill(process, signal.SIGKILL)
        ended = os.waitpid(process, 0)
    n_kills += ended[1] == signal.SIGKILL
for name in ("killed", "alone"):
    assert os.waitpid(start(name, n_workers=1), 0)[1] == 0
print(n_kills)
"""


def test_kill_at_random_moments(training_file: Path, tmp_path: Path) -> None:
    """After repeated kills, the file is that of an undisturbed run.

    The script forks, so that torch is imported once.
    """
    done = subprocess.run(
        [sys.executable, "-c", KILLS.format(data=str(training_file), folder=str(tmp_path))],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
    killed, alone = (tmp_path / name / "labels.h5" for name in ("killed", "alone"))
    assert killed.read_bytes() == alone.read_bytes()
    assert [file.name for file in killed.parent.iterdir()] == ["labels.h5"]


@pytest.fixture
def interrupted(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Labeling that ends in the fourth of its nine chunks."""

    def begin(teachers: Any = SPRINGS, **settings: Any) -> Path:
        from ekd.distillation import labelling

        calls, evaluate = [], labelling._evaluate

        def stop(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return evaluate(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(labelling, "_evaluate", stop)
            with pytest.raises(KeyboardInterrupt):
                run(teachers, small_dataset, tmp_path / "labels.h5", chunk_size=5, **settings)
        return tmp_path / "labels.h5"

    return begin


def count_chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the first configuration of every chunk that is processed from now on."""
    from ekd.distillation import labelling

    asked, evaluate = [], labelling._evaluate

    def counted(teachers: Any, data: Dataset, first: int, *others: Any) -> Any:
        asked.append(first)
        return evaluate(teachers, data, first, *others)

    monkeypatch.setattr(labelling, "_evaluate", counted)
    return asked


def test_finished_chunks_are_not_asked_again(
    small_dataset: Dataset, interrupted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted()
    damaged = path.with_name("labels.h5.parts") / "part-000001.npz"
    damaged.write_bytes(damaged.read_bytes()[:-40] + bytes(40))
    asked = count_chunks(monkeypatch)
    run(SPRINGS, small_dataset, path, chunk_size=5, resume=True)
    assert asked == [5, 15, 20, 25, 30, 35, 40]
    asked.clear()
    run(SPRINGS, small_dataset, path, chunk_size=5, resume=True)
    assert asked == []
    run(SPRINGS, small_dataset, path, chunk_size=5)
    assert asked == list(range(0, 43, 5))


def test_damaged_chunk_of_a_complete_file_is_asked_again(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.h5"
    run(SPRINGS, small_dataset, path, chunk_size=5)
    before = path.read_bytes()
    with h5py.File(path, "r+") as file:
        file["forces_std"][-1] = 1.0
        file["member_energies"][12] += 1e-6
    asked = count_chunks(monkeypatch)
    run(SPRINGS, small_dataset, path, chunk_size=5, resume=True)
    assert asked == [10, 40]
    assert path.read_bytes() == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"chunk_size": 6}, "chunk_size: 5 there, 6 now"),
        ({"teachers": ASETeacher("calculators:Springs", {"k": 0.4})}, "teachers: .*k=0.3.*k=0.4"),
        ({"extra": range(2)}, "extra: None there, '"),
        ({"data": range(40)}, "data: '"),
    ],
    ids=["chunks", "teachers", "extra", "data"],
)
def test_resuming_something_else(
    small_dataset: Dataset,
    interrupted: Callable[..., Path],
    changes: dict[str, Any],
    difference: str,
    finished: bool,
) -> None:
    path = interrupted()
    if finished:
        run(SPRINGS, small_dataset, path, chunk_size=5, resume=True)
    settings: dict[str, Any] = {"teachers": SPRINGS, "data": range(43), "chunk_size": 5} | changes
    settings["data"] = small_dataset.subset(settings["data"])
    if "extra" in changes:
        settings["extra"] = small_dataset.subset(changes["extra"])
    with pytest.raises(DataError, match=f"made with other settings or data:\n  {difference}"):
        run(path=path, resume=True, **settings)
    run(path=path, **settings)  # starts again


def test_moved_file_of_a_teacher_is_no_other_teacher(
    small_dataset: Dataset, interrupted: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("factor", "moved"):
        (tmp_path / name).write_text("2.0")
    path = interrupted(ASETeacher("calculators:Springs", files={"path": tmp_path / "factor"}))
    moved = ASETeacher("calculators:Springs", files={"path": tmp_path / "moved"})
    labels = run(moved, small_dataset, path, chunk_size=5, resume=True)
    assert labels.teachers[0].name == "calculators:Springs path=moved"


def test_interrupted_file_is_no_label_file_yet(
    small_dataset: Dataset, interrupted: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match="not found"):
        Labels.load(interrupted(), small_dataset)


def test_number_of_chunks_and_workers(small_dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="chunk_size is 0; at least 1"):
        run(SPRINGS, small_dataset, chunk_size=0)
    with pytest.raises(ConfigError, match="n_workers is 0; at least 1"):
        run(SPRINGS, small_dataset, n_workers=0)


def test_what_is_no_teacher(small_dataset: Dataset) -> None:
    with pytest.raises(
        TeacherError, match=r"a str is not a teacher; .*ekd\.ASETeacher\('module:Class"
    ):
        run(["calculators:Springs"], small_dataset)
    with pytest.raises(TeacherError, match="there is no teacher"):
        run([], small_dataset)


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (
            teacher(0, elements=[1, 8]),
            StructureError,
            "the data contain C, N, but teacher 1 supports only H",
        ),
        (
            ASETeacher("calculators:Springs", elements=["H", "O"]),
            StructureError,
            "the data contain C, N, but calculators:Springs supports only H, O",
        ),
        (
            ASETeacher("calculators:Springs", {"knows": "H C O"}),
            TeacherError,
            r"fails on configuration \d+ \(\w+\): KeyError: 'N'; leave out configurations",
        ),
        (
            ASETeacher("calculators:NotFinite"),
            DataError,
            r"forces of calculators:NotFinite are not finite",
        ),
        (
            ASETeacher("calculators:OneForce"),
            TeacherError,
            r"fails on configuration 0 .*ValueError: forces of shape \(3,\) for \d+ atoms",
        ),
    ],
    ids=["network", "elements", "calculator", "not finite", "shape"],
)
def test_teacher_that_fails(
    small_dataset: Dataset, bad: Any, kind: type[EKDError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run([teacher(1), bad], small_dataset, chunk_size=22)


def test_teacher_that_fails_in_a_worker(small_dataset: Dataset) -> None:
    bad = ASETeacher("calculators:Springs", {"knows": "H C O"})
    with pytest.raises(TeacherError, match=r"labels, part \d: the teacher .*KeyError: 'N'"):
        run(bad, small_dataset, chunk_size=22, n_workers=2)


def test_network_that_is_not_finite(small_dataset: Dataset) -> None:
    broken = teacher(0, ELEMENTS)
    torch.nn.init.constant_(broken.model.blocks[0].energy.bias, torch.inf)
    with pytest.raises(DataError, match="43 energies of teacher 0 are not finite"):
        run(broken, small_dataset)


def test_calculator_that_ends_its_process(small_dataset: Dataset, tmp_path: Path) -> None:
    message = r"labels, part \d was lost: its process ended with status 7.*resume=True"
    with pytest.raises(TeacherError, match=message):
        run(
            ASETeacher("calculators:Crashing"),
            small_dataset,
            tmp_path / "labels.h5",
            chunk_size=22,
            n_workers=2,
        )


def test_extra_configurations_alone(small_dataset: Dataset, tmp_path: Path) -> None:
    """Adding them to other labels of the same teachers gives the same as labeling all at once."""
    first, second = perturb(small_dataset.subset([1, 2]), 0.1), perturb(small_dataset, 0.1, seed=1)
    settings: dict[str, Any] = {"n_workers": 1, "progress": False}
    wall = WallConfig(strength=10.0, onset=1e-3)
    together = label(
        ensemble(2), small_dataset, extra=concatenate(first, second), wall=wall, **settings
    )
    labels = label(ensemble(2), small_dataset, extra=first, wall=wall, **settings)
    path = tmp_path / "more.h5"
    for resume in (False, True):
        more = label(
            ensemble(2), None, path, second, chunk_size=10, wall=wall, resume=resume, **settings
        )
        both = labels.with_extra(more)
        for name in ("energies", "energies_std", "member_energies", "forces", "forces_std"):
            np.testing.assert_allclose(getattr(both, name), getattr(together, name), atol=1e-9)
        assert both.extra is not None
        assert together.extra is not None
        assert both.extra.fingerprint == together.extra.fingerprint
        assert both.wall == wall
    with pytest.raises(DataError, match="made for other data"):
        Labels.load(path, small_dataset)
    other = label(ensemble(3), None, extra=second, **settings)
    with pytest.raises(DataError, match=r"made by teacher 0 .*, and not by teacher 0 .*teacher 2"):
        labels.with_extra(other)
    with pytest.raises(ConfigError, match="there is nothing to label"):
        label(ensemble(2), None, **settings)
