"""The configuration: reading, errors and messages."""

from __future__ import annotations

import pickle
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from ekd.config import (
    Config,
    HIPNNConfig,
    TeachersConfig,
    TrainingConfig,
    load_config,
    validate_config,
    write_config,
)
from ekd.config.section import nested_sections
from ekd.errors import ConfigError

DATA = {"path": "data.h5", "energy": "ccsd(t).energy"}


def refusal(settings: dict[str, object]) -> str:
    """The error message for these settings with a valid [data]."""
    with pytest.raises(ConfigError) as error:
        validate_config({"data": DATA} | settings, base=Path("/base"))
    return error.value.message


def test_defaults_need_data_alone() -> None:
    config = validate_config({"data": DATA}, base="/base")
    assert config.data.path == Path("/base/data.h5")
    assert config.output == Path("/base/run")
    assert config.teachers.n_members == 8
    assert config.test is None


@pytest.mark.parametrize(
    ("settings", "unknown", "nearest"),
    [
        ({"modle": {}}, "modle", "model"),
        ({"model": {"cutof": 5.0}}, "model.cutof", "cutoff"),
        ({"teachers": {"members": 8}}, "teachers.members", "n_members"),
        ({"teachers": {"training": {"epoch": 3}}}, "teachers.training.epoch", "epochs"),
        ({"student": {"model": {"n_feature": 3}}}, "student.model.n_feature", "n_features"),
        ({"lammps": {"nve": {"time_step": 1.0}}}, "lammps.nve.time_step", "timestep"),
        ({"data": DATA | {"energies": "x"}}, "data.energies", "energy"),
    ],
)
def test_unknown_key_names_the_nearest(
    settings: dict[str, object], unknown: str, nearest: str
) -> None:
    message = refusal(settings)
    assert f"unknown key '{unknown}': did you mean '{nearest}'?" in message
    assert "known here: " in message


def test_key_of_another_section_names_its_home() -> None:
    message = refusal({"teachers": {"l2_weight": 3}})
    assert (
        "'l2_weight' belongs in [pretraining.training] or [pretraining.second_step] or "
        "[teachers.training] or [student.training]" in message
    )


@pytest.mark.parametrize(
    ("settings", "found", "expected"),
    [
        ({"teachers": {"n_members": "eight"}}, "'teachers.n_members' = 'eight'", "integer"),
        ({"teachers": {"n_members": "8"}}, "'teachers.n_members' = '8'", "integer"),
        ({"seed": True}, "'seed' = True", "integer"),
        ({"seed": 1.5}, "'seed' = 1.5", "integer"),
        ({"model": {"zbl": 1}}, "'model.zbl' = 1", "boolean"),
        ({"model": {"cutoff": "5"}}, "'model.cutoff' = '5'", "number"),
        ({"output": 3}, "'output' = 3", "expected a path in quotes"),
        ({"model": 3}, "'model' = 3", "written [model]"),
        ({"student": {"model": []}}, "'student.model' = []", "written [student.model]"),
        ({"export": {"dtype": "half"}}, "'export.dtype' = 'half'", "'float32' or 'float64'"),
    ],
)
def test_wrong_types(settings: dict[str, object], found: str, expected: str) -> None:
    message = refusal(settings)
    assert found in message
    assert expected in message


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "l_max", 3),
        ("model", "l_max", True),
        ("model", "n_interactions", 0),
        ("model", "cutoff", -1.0),
        ("model", "cutoff", float("nan")),
        ("data", "validation_fraction", 1.0),
        ("teachers", "n_members", -1),
        ("labels", "chunk_size", 0),
        ("lammps", "mpi_ranks", 0),
    ],
)
def test_bounds(section: str, key: str, value: float) -> None:
    message = refusal({section: (DATA if section == "data" else {}) | {key: value}})
    assert f"'{section}.{key}' = {value!r}: input should be" in message


def test_radii_out_of_order() -> None:
    message = refusal({"model": {"cutoff": 4.0}})
    assert message.endswith(
        "[model]: soft_min < soft_max <= cutoff is required, found 0.75, 4.5, 4.0"
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"teachers": [{}]}, "[labels.teachers.0]: a teacher is either a calculator"),
        ({"teachers": [{"calculator": "a:B", "checkpoint": "c.pt"}]}, "found both"),
        (
            {"teachers": [{"checkpoint": "c.pt", "arguments": {"k": 1}}]},
            "arguments, files and elements belong to a calculator",
        ),
        (
            {"teachers": [{"calculator": "a:B"}, {"calculater": "a:B"}]},
            "unknown key 'labels.teachers.1.calculater': did you mean 'calculator'?",
        ),
        ({"teachers": 3}, "'labels.teachers' = 3: expected sections, each written [[labels.te"),
        ({"teachers": [3]}, "'labels.teachers.0' = 3"),
        ({"structures": [3]}, "'labels.structures.0' = 3: expected a path in quotes"),
        ({"md": {"n_trajectories": -1}}, "'labels.md.n_trajectories' = -1"),
        ({"wall": {"strength": 5.0}}, "labels.wall.strength = 5.0: the wall raises only labels"),
    ],
)
def test_teachers_of_labels(labels: dict[str, object], message: str) -> None:
    assert message in refusal({"labels": labels})


def test_number_of_teachers() -> None:
    for n_members in (0, 1):
        message = refusal({"teachers": {"n_members": n_members}})
        assert f"teachers.n_members = {n_members}: at least 2 are needed" in message
    others = {"teachers": [{"calculator": "a:B"}]}
    alone = {"data": DATA, "teachers": {"n_members": 0}, "labels": others}
    assert validate_config(alone, base="/base").teachers.n_members == 0
    with_md = others | {"md": {"n_trajectories": 3}}
    message = refusal({"teachers": {"n_members": 0}, "labels": with_md})
    assert "MD runs with teachers that are trained here" in message


def test_a_wall_needs_two_energies() -> None:
    other = {"calculator": "a:B"}
    wall = {"structures": ["a.xyz"], "wall": {"strength": 5.0}}
    message = refusal({"teachers": {"n_members": 1}, "labels": wall | {"teachers": [other]}})
    assert "labels.wall.strength = 5.0" in message
    assert "energies of at least 2 teachers, found 1" in message
    for enough in (other | {"use_energies": True}, {"checkpoint": "c.pt"}):
        labels = wall | {"teachers": [enough]}
        validate_config(
            {"data": DATA, "teachers": {"n_members": 1}, "labels": labels}, base="/base"
        )


def test_on_policy_rounds_need_two_networks() -> None:
    rounds = {"on_policy": {"n_rounds": 1}}
    others = [{"calculator": "a:B"}, {"checkpoint": "c.pt"}]
    sections: dict[str, object] = {"student": rounds, "labels": {"teachers": others}}
    message = refusal(sections | {"teachers": {"n_members": 0}})
    assert "student.on_policy.n_rounds = 1" in message
    assert "ekd networks, found 1" in message
    validate_config({"data": DATA, "teachers": {"n_members": 1}, **sections}, base="/base")
    message = refusal({"student": {"on_policy": {"ratio": 1.0}}})
    assert "'student.on_policy.ratio' = 1.0" in message


@pytest.mark.parametrize(
    "more",
    [
        {"pool": {}},
        {"student": {"on_policy": {"n_rounds": 1}}},
        {"labels": {"structures": ["a.xyz"]}},
    ],
)
def test_a_wall_lifts_all_extra_configurations(more: dict[str, dict[str, object]]) -> None:
    labels = {"wall": {"strength": 5.0}} | more.get("labels", {})
    config = validate_config({"data": DATA, **more, "labels": labels}, base="/base")
    assert config.labels.wall.strength == 5.0
    message = refusal({"pool": {}, "labels": {"wall": {"strength": 5.0}, "pool": False}})
    assert "add a section [pool]" in message


@pytest.mark.parametrize(
    "value", [float("inf"), date(2020, 1, 1), [1.0, float("nan")], {"inner": [time(12, 0)]}]
)
def test_arguments_that_cannot_be_recorded(value: object) -> None:
    """Such values would change when they are read back from the file of settings."""
    calculator = {"calculator": "module:Class", "arguments": {"key": value}}
    for sections in ({"pool": {"calculator": calculator}}, {"labels": {"teachers": [calculator]}}):
        assert "cannot be recorded in the output folder" in refusal(sections)


@pytest.mark.parametrize(
    ("sections", "n_bases"),
    [
        ({"pretraining": {}}, 4),
        ({"pretraining": {}, "teachers": {"n_members": 2}}, 2),
        ({"pretraining": {}, "teachers": TeachersConfig(n_members=3)}, 3),
        ({"pretraining": {"n_bases": 1}}, 1),
        ({"pretraining": {"n_bases": 6}, "teachers": {"n_members": 2}}, 6),
        ({"pretraining": {"checkpoint": "a.pt"}}, 1),
        ({"pretraining": {"checkpoint": "a.pt", "data": DATA}, "teachers": {"n_members": 3}}, 3),
    ],
)
def test_default_number_of_bases(sections: dict[str, Any], n_bases: int) -> None:
    config = validate_config({"data": DATA, "pool": {}, **sections}, base="/base")
    assert config.pretraining is not None
    assert config.pretraining.n_bases == n_bases


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"pretraining": {}}, "[pretraining] has nothing to learn from; add a section [pool]"),
        (
            {"pool": {}, "pretraining": {"pool": False}},
            "[pretraining] has nothing to learn from; set pool = true in it",
        ),
        (
            {"pretraining": {"checkpoint": "a.pt", "n_bases": 2}},
            "[pretraining]: n_bases = 2: a checkpoint is one base; remove n_bases, or add "
            "a data set",
        ),
        (
            {"pretraining": {"training": {"optimizer": "levenberg-marquardt"}}},
            "'pretraining.training.optimizer' = 'levenberg-marquardt'",
        ),
        (
            {"student": {"model": {"n_features": 24, "l_max": 1}}},
            "[student.model] has l_max = 1 instead of 2, n_features = 24 instead of 48; remove "
            "[student.model], or set from_base = false in [student]",
        ),
        (
            {"teachers": {"overrides": [{}, {"model": {"n_features": 64}}]}},
            "[[teachers.overrides]] number 1, counted from 0: the teacher starts from a base, "
            "which has the architecture of [model], and has n_features = 64 instead of 48",
        ),
        (
            {"teachers": {"overrides": [{"model": {"n_featurs": 64}}]}},
            "did you mean 'n_features'?",
        ),
    ],
)
def test_pretraining_that_cannot_be(sections: dict[str, object], message: str) -> None:
    alone = {"pretraining": {"checkpoint": "base.pt"}}
    assert message in refusal(alone | sections)


def test_starts_that_fit() -> None:
    sections: dict[str, object] = {
        "data": DATA,
        "pretraining": {"checkpoint": "base.pt"},
        "teachers": {"overrides": [{"model": {"n_features": 48}}]},
    }
    other = {"n_features": 24}
    for student in ({"model": other, "from_base": False}, {"model": {}}):
        config = validate_config(sections | {"student": student}, base="/base")
    assert config.pretraining is not None
    assert config.pretraining.checkpoint == Path("/base/base.pt")
    random = {"data": DATA, "pool": {}, "student": {"model": other}}
    assert validate_config(random, base="/base").pretraining is None


def test_fine_tuning_has_defaults_of_its_own() -> None:
    """Fewer epochs and lower rates; settings in the file are kept."""
    sections = {"data": DATA, "pool": {}, "pretraining": {}}
    config = validate_config(sections, base="/base")
    rates = [
        (t.epochs, t.learning_rate) for t in (config.teachers.training, config.student.training)
    ]
    assert rates == [(60, 1e-3), (60, 2e-3)]
    sections["teachers"] = {"training": {"epochs": 7}}
    assert validate_config(sections, base="/base").teachers.training.epochs == 7
    assert validate_config({"data": DATA}, base="/base").student.training.epochs == 200


def test_paths_of_labels_count_from_the_file(tmp_path: Path) -> None:
    labels = {
        "structures": ["a.xyz"],
        "teachers": [
            {"calculator": "m:C", "arguments": {"k": [1, "x"]}, "files": {"weights": "w.bin"}},
            {"checkpoint": "c.pt", "use_energies": False},
        ],
    }
    config = validate_config({"data": DATA, "labels": labels}, base="/base")
    assert config.labels.structures == [Path("/base/a.xyz")]
    first, second = config.labels.teachers
    assert (first.folder, first.files) == (Path("/base"), {"weights": Path("/base/w.bin")})
    assert second.checkpoint == Path("/base/c.pt")
    write_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config


def test_required_keys() -> None:
    with pytest.raises(ConfigError, match=r"'data' is required; add \[data\]"):
        validate_config({}, base="/base")
    with pytest.raises(ConfigError, match=r"'data\.path' is required; add path = \.\.\."):
        validate_config({"data": {"energy": "e"}}, base="/base")


def test_every_problem_is_listed() -> None:
    message = refusal({"seed": -1, "model": {"cutof": 1.0}, "teachers": {"n_members": -1}})
    assert "3 problems\n  " in message
    assert all(key in message for key in ("'seed'", "'model.cutof'", "'teachers.n_members'"))


def test_sections_made_in_python_fail_in_the_same_words() -> None:
    with pytest.raises(ConfigError, match="unknown key 'cutof': did you mean 'cutoff'"):
        HIPNNConfig(cutof=5.0)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"'training\.epochs' = 0: input should be"):
        TeachersConfig(training={"epochs": 0})  # type: ignore[arg-type]
    assert TeachersConfig(training=TrainingConfig(epochs=3)).training.epochs == 3


def test_sections_survive_the_way_to_a_worker() -> None:
    config = HIPNNConfig(l_max=2, n_features=8)
    assert pickle.loads(pickle.dumps(config)) == config


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'.*absent\.toml' not found; check the path"):
        load_config(tmp_path / "absent.toml")


def test_folder_instead_of_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: .*directory"):
        load_config(tmp_path)


@pytest.mark.parametrize("content", [b"seed = \n", b"seed = 1\nseed = 2\n", b"\xff\xfe"])
def test_broken_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml' is not valid TOML"):
        load_config(path)


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "study"
    folder.mkdir()
    path = folder / "config.toml"
    path.write_text(
        'output = "runs/1"\n'
        '[data]\npath = "../data.h5"\nenergy = "e"\n'
        '[test]\npath = "~/test.xyz"\nenergy = "e"\n'
    )
    monkeypatch.chdir(tmp_path)
    config = load_config("study/config.toml")
    assert config.output == folder / "runs" / "1"
    assert config.data.path == tmp_path / "data.h5"
    assert config.test is not None
    assert config.test.path == tmp_path / "home" / "test.xyz"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    config = validate_config({"data": DATA | {"path": "/elsewhere/x.h5"}}, base=tmp_path)
    assert config.data.path == Path("/elsewhere/x.h5")


def test_written_configuration_reads_back(tmp_path: Path) -> None:
    config = validate_config(
        {
            "seed": 3,
            "data": DATA | {"energy": 'quo"ted\\'},
            "test": DATA | {"forces": "f"},
            "model": {"l_max": 2, "cusp": 1e-30},
            "student": {"model": {"zbl": True}},
            "export": {"description": "line\nÅngström"},
        },
        base=tmp_path,
    )
    path = tmp_path / "elsewhere" / "config.toml"
    write_config(config, path)
    assert load_config(path) == config
    assert path.parent.joinpath("config.toml").read_text().count("gradient_clip = 10.0") == 2


def test_written_defaults_read_back(tmp_path: Path) -> None:
    config = validate_config({"data": DATA}, base=tmp_path)
    write_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config


def test_every_setting_has_a_description() -> None:
    sections = nested_sections(Config)
    assert "lammps.nve" in sections
    for section, model in sections.items():
        for name, field in model.model_fields.items():
            setting = f"{section}.{name}".lstrip(".")
            assert field.description or setting in sections, setting


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "nested more deeply than any configuration"),
        ("a = " + "1" * 5000, "is not valid TOML: Exceeds the limit"),
        ('output = "a\\u0000b"', "holds a null character"),
        ('"\\u001b[2J" = 1', r"unknown key '\?\[2J'"),
    ],
)
def test_odd_text(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
