"""The complete stability test on small models: rows, files, resuming and errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ekd
from ekd.distillation import ASETeacher
from ekd.dynamics import (
    Stability,
    StabilityConfig,
    StructureConfig,
    runs,
    survival,
    terminal_tables,
)
from ekd.dynamics.stability_files import ratio_text
from ekd.dynamics.stability_results import ALL, SurvivalRow
from ekd.dynamics.stability_settings import load_stability_config
from ekd.errors import ConfigError, DataError, StructureError
from ekd.evaluation import ModelConfig
from systems import water
from untrained import ensemble, teacher

SPRINGS = ASETeacher("calculators:Springs", {"k": -3.0}, label="springs")


def test_rows_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "temperatures": [100.0, 300.0],
        "n_seeds": 2,
        "duration": 0.06,
        "friction": 300.0,
        "n_teachers": 1,
        "drift": {"timesteps": [0.5e-3], "duration": 0.02, "equilibration": 0.005, "n_seeds": 1},
        "n_workers": 1,
    }
    models = {"committee": ensemble(2), "springs": SPRINGS}
    result = ekd.stability(models, ["H2O", "CH4"], tmp_path, progress=False, **settings)
    assert result.models == ["committee, one", "committee", "springs"]
    keys = {(row.structure, row.temperature, row.model) for row in result.survival}
    assert len(keys) == len(result.survival) == 3 * 2 * 3
    for row in result.survival:
        assert row.result.n_runs == (4 if row.structure == ALL else 2)
        assert row.engine == "ASE"
        assert sum(row.failures.values()) == row.result.n_failed
    (pushed,) = [
        r
        for r in result.survival
        if (r.structure, r.temperature, r.model) == ("H2O", 300.0, "springs")
    ]
    assert pushed.failures == {"bond": 2}
    assert result.baseline == "committee, one"
    assert {(row.structure, row.model) for row in result.drift} == {
        (s, m) for s in ("H2O", "CH4") for m in result.models
    }
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(summary["survival"]) == len(result.survival)
    assert summary["settings"]["failure"]["broken_factor"] == 1.6
    with (tmp_path / "tables" / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 2 * 2 * 3
    report = (tmp_path / "report.html").read_text()
    assert 'src="http' not in report
    assert report.count('<div class="card">') == len(settings["temperatures"]) + 1
    assert "Smallest energy drift" in report
    for words in (
        "1.6 times that sum",
        "committee, one",
        "Kaplan-Meier",
        "Energy conservation (NVE)",
    ):
        assert words in report
    assert r"\bottomrule" in (tmp_path / "tables" / "survival.tex").read_text()
    for table in terminal_tables(result):
        assert table.row_count

    def forbidden(*_: object) -> None:
        raise AssertionError("this has been done")

    monkeypatch.setattr(runs.Runs, "run", forbidden)
    monkeypatch.setattr("ekd.dynamics.measure_stability.write_stability", lambda *_: None)
    again = ekd.stability(models, ["H2O", "CH4"], tmp_path, progress=False, **settings)
    assert [row.outcomes for row in again.survival] == [row.outcomes for row in result.survival]
    with pytest.raises(AssertionError, match="has been done"):  # a longer run is another one
        ekd.stability(
            models, ["H2O", "CH4"], tmp_path, progress=False, **{**settings, "duration": 0.07}
        )


def test_relaxation_comes_first_and_may_be_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Springs pull the atoms of water together, so runs fail immediately."""
    models = {
        "springs": ASETeacher("calculators:Springs", {"k": 3.0}, label="springs"),
        "network": teacher(1),
    }
    settings = {
        "temperatures": [100.0],
        "n_seeds": 2,
        "duration": 0.01,
        "drift": {"timesteps": [0.5e-3], "duration": 0.01, "equilibration": 0.005, "n_seeds": 1},
        "n_workers": 1,
    }
    relaxations: list[object] = []
    once = runs.relaxed

    def counted(*arguments: Any) -> Any:
        relaxations.append(arguments)
        return once(*arguments)

    monkeypatch.setattr(runs, "relaxed", counted)
    found = ekd.stability(models, ["H2O"], tmp_path, progress=False, relax=True, **settings)
    assert len(relaxations) == len(models)  # for all runs of each
    by_model = {row.model: row for row in found.survival}
    assert by_model["springs"].failures == {"contact": 2}
    assert {outcome.time for outcome in by_model["springs"].outcomes} == {0.005}
    assert {row.model: row.n_failed for row in found.drift}["springs"] == 1
    assert "were first relaxed with the model" in (tmp_path / "report.html").read_text()
    runs_of = len(list((tmp_path / "runs").iterdir()))
    ekd.stability(models, ["H2O"], tmp_path, progress=False, **settings)
    assert len(list((tmp_path / "runs").iterdir())) == 2 * runs_of  # other runs, in other files


def test_workers_give_the_same() -> None:
    settings = {"n_seeds": 2, "duration": 0.02, "temperatures": [100.0, 300.0]}
    found = [
        ekd.stability({"net": teacher(0)}, water(), progress=False, n_workers=n, **settings)
        for n in (1, 2)
    ]
    assert [row.outcomes for row in found[0].survival] == [
        row.outcomes for row in found[1].survival
    ]


def test_structures_from_files(tmp_path: Path) -> None:
    import ase.io

    ase.io.write(tmp_path / "two.xyz", [water(0), water(1)])
    (tmp_path / "stability.toml").write_text(
        "[[models]]\npath = 'run'\n[[structures]]\npath = 'two.xyz'\nframes = ':'\n"
        "[[structures]]\nmolecule = 'CH3OH'\nname = 'methanol'\n[failure]\nbroken_factor = 2.0\n"
    )
    config = load_stability_config(tmp_path / "stability.toml")
    assert config.output == tmp_path / "stability"
    assert config.models[0].path == tmp_path / "run"
    found = runs.read_structures(config.structures)
    assert list(found) == ["two 0", "two 1", "methanol"]
    np.testing.assert_allclose(found["two 1"].positions, water(1).positions, atol=1e-7)


@pytest.mark.parametrize(
    ("structures", "error", "words"),
    [
        ("absent.xyz", DataError, "structure file 'absent.xyz' not found"),
        ("Xx", ConfigError, "'Xx' is not a molecule"),
        ([], ConfigError, "no structure to start from"),
        (["H2O", "H2O"], ConfigError, "several structures are called 'H2O'"),
        ("SiH4", StructureError, "Si"),
    ],
)
def test_what_is_no_start(structures: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ekd.stability(teacher(0), structures, progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[models]]\npath = 'a'\n", "'structures' is required"),
        ("models = []\n[[structures]]\nmolecule = 'H2O'\n", r"at least one \[\[models\]\]"),
        ("[[models]]\npath = 'a'\n[[structures]]\nname = 'b'\n", "found neither"),
        (
            "temperatures = []\n[[models]]\npath = 'a'\n[[structures]]\nmolecule = 'H2O'\n",
            "nothing to run",
        ),
        (
            "temperatures = [-1.0]\n[[models]]\npath = 'a'\n[[structures]]\nmolecule = 'H2O'\n",
            "expected positive numbers",
        ),
        (
            "duration = 0.001\n[[models]]\npath = 'a'\n[[structures]]\nmolecule = 'H2O'\n",
            "is shorter than check_every",
        ),
        (
            "[[models]]\npath = 'a'\n[[structures]]\nmolecule = 'H2O'\n"
            "[drift]\ntimesteps = [0.0]\n",
            "expected positive numbers",
        ),
    ],
)
def test_configuration_that_is_wrong(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "stability.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_stability_config(tmp_path / "stability.toml")


def test_ratio_of_medians() -> None:
    """Single members fail after 1 and 3 ps; the others after 6 ps, or not within 8."""
    runs_of = {"one": [1.0, 3.0], "other": [6.0, 6.0], "best": [8.0, 8.0]}
    rows = [
        SurvivalRow("H2O", 300.0, name, "ASE", [], survival(times, [t < 8 for t in times]))
        for name, times in runs_of.items()
    ]
    config = StabilityConfig(
        models=[ModelConfig(path=Path("x"))], structures=[StructureConfig(molecule="H2O")]
    )
    result = Stability(config, list(runs_of), {}, rows, [], "one", {})
    assert [result.ratio(row) for row in rows] == [None, (6.0, False), (8.0, True)]
    assert [ratio_text(result, row) for row in rows] == ["–", "6", "> 8"]
