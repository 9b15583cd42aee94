"""Typical use of a pair style in LAMMPS: keywords, hybrids, moving boxes, reruns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ekd.export import export_model
from lammps_runs import RunLammps
from lammps_states import MOVE, assert_same, reference, script, state
from models import random_network


@pytest.mark.on_devices
@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    ("options", "n_ranks"),
    [
        ({}, 2),
        ({"style": "ekd ghosts wide"}, 1),
        pytest.param({"style": "ekd ghosts wide"}, 4, marks=pytest.mark.slow),
        ({"style": "ekd block 7"}, 1),
        ({"style": "ekd block 7"}, 2),
        ({"style": "ekd ghosts wide block 50"}, 2),
        ({"style": "ekd self_test no device cpu precision double"}, 1),
        ({"newton": "off"}, 1),
        pytest.param({"newton": "off"}, 4, marks=pytest.mark.slow),
        ({"newton": "off", "style": "ekd ghosts wide"}, 2),
        ({"before": "comm_style tiled"}, 4),
        ({"before": "processors 1 1 *"}, 2),
    ],
    ids=str,
)
def test_every_way_to_evaluate_tells_the_same_story(
    run_lammps: RunLammps, model_folder: Path, options: dict[str, str], n_ranks: int
) -> None:
    """25 steps end in the same state for all settings of ghosts, blocks, newton and domains."""
    model = model_folder / "2-float64.pt"
    expected = reference(run_lammps, script(model))
    assert_same(state(run_lammps, script(model, **options), n_ranks), expected)


@pytest.mark.usefixtures("box")
def test_balanced_tiles(run_lammps: RunLammps, model_folder: Path) -> None:
    """Tiles of unequal size, moved during the run, on four ranks."""
    model = model_folder / "2-float64.pt"
    expected = reference(run_lammps, script(model))
    body = "fix balance all balance 5 0.9 rcb\n" + MOVE
    found = state(run_lammps, script(model, body, before="comm_style tiled"), 4)
    assert_same(found, expected)


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("n_ranks", [1, 4])
def test_ranks_without_atoms(run_lammps: RunLammps, model_folder: Path, n_ranks: int) -> None:
    """All atoms are in one corner of a long box, so most ranks have no atoms."""
    body = "change_box all x final 0 60 z final 0 60\n" + MOVE
    model = model_folder / "3-float64.pt"
    expected = state(run_lammps, script(model, body, style="ekd ghosts wide"))
    found = state(run_lammps, script(model, body, before="processors * 1 *"), n_ranks)
    assert_same(found, expected)


@pytest.mark.usefixtures("box")
def test_single_precision(run_lammps: RunLammps, model_folder: Path) -> None:
    """A double-precision file run in single precision equals the single-precision file."""
    single = model_folder / "2-float32.pt"
    double = model_folder / "2-float64.pt"
    body = "run 0 post no\n"
    found = state(run_lammps, script(double, body, style="ekd precision single"))
    assert_same(found, state(run_lammps, script(single, body)), rtol=1e-6)
    expected = state(run_lammps, script(double, body))
    assert np.abs(found[0] - expected[0]) / 192 < 1e-4
    assert found[0] != expected[0]


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_odd_widths(run_lammps: RunLammps, tmp_path: Path, portable: bool, precision: str) -> None:
    """Rows of messages and features that do not fill whole buffers of LAMMPS."""
    network, config = random_network(n_interactions=2, n_features=7)
    export_model(network, tmp_path / "odd.pt", config=config, portable=portable)
    body = "run 1 post no\n"
    text = script(tmp_path / "odd.pt", body, style=f"ekd precision {precision}")
    expected = state(run_lammps, text)
    assert_same(state(run_lammps, text, 2), expected, 1e-9 if precision == "double" else 1e-5)


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_hybrid_overlay(run_lammps: RunLammps, model_folder: Path, n_ranks: int) -> None:
    """If the other style does nothing, the result is that of ekd alone."""
    model = model_folder / "3-float64.pt"
    text = script(
        model,
        "pair_coeff * * zero\n" + MOVE,
        style="hybrid/overlay ekd zero 5.0",
        coefficients=f"* * ekd {model} O H N C",
    )
    assert_same(state(run_lammps, text, n_ranks), reference(run_lammps, script(model)))


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_two_instances_add_up(run_lammps: RunLammps, model_folder: Path, n_ranks: int) -> None:
    body = "run 0 post no\n"
    a, b = model_folder / "1-float64.pt", model_folder / "3-float64.pt"
    text = script(
        a,
        f"pair_coeff * * ekd 2 {b} O H N C\n" + body,
        style="hybrid/overlay ekd ekd",
        coefficients=f"* * ekd 1 {a} O H N C",
    )
    expected = state(run_lammps, script(a, body)) + state(run_lammps, script(b, body))
    assert_same(state(run_lammps, text, n_ranks), expected)


@pytest.mark.usefixtures("box")
def test_two_instances_side_by_side(run_lammps: RunLammps, model_folder: Path) -> None:
    """Oxygen uses one model and hydrogen another, each as if the other atoms were absent."""
    a, b = model_folder / "2-float64.pt", model_folder / "3-float64.pt"
    text = script(
        a,
        f"pair_coeff * * ekd 2 {b} NULL H NULL NULL\n"
        "pair_coeff 1 2*4 zero\npair_coeff 2 3*4 zero\npair_coeff 3*4 3*4 zero\n"
        "run 0 post no\n",
        style="hybrid ekd ekd zero 5.0",
        coefficients=f"* * ekd 1 {a} O NULL NULL NULL",
    )
    parts = [
        script(
            model, f"group out type {other}\ndelete_atoms group out compress no\nrun 0 post no\n"
        )
        for model, other in ((a, 2), (b, 1))
    ]
    expected = sum(state(run_lammps, part) for part in parts)
    assert_same(state(run_lammps, text, 2), expected)


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_types_of_another_style_do_not_count(
    run_lammps: RunLammps, model_folder: Path, n_ranks: int
) -> None:
    """Oxygen uses ekd and hydrogen another style, with the results without hydrogen."""
    model = model_folder / "2-float64.pt"
    text = script(
        model,
        "pair_coeff 2*4 2*4 zero\npair_coeff 1 2*4 zero\nrun 0 post no\n",
        style="hybrid ekd zero 5.0",
        coefficients=f"* * ekd {model} O NULL NULL NULL",
    )
    alone = script(model, "group h type 2\ndelete_atoms group h compress no\nrun 0 post no\n")
    assert_same(state(run_lammps, text, n_ranks), state(run_lammps, alone))


@pytest.mark.usefixtures("box")
def test_permuted_and_repeated_types(run_lammps: RunLammps, model_folder: Path) -> None:
    """Users choose the order of types, and two types may be the same element."""
    model = model_folder / "2-float64.pt"
    expected = state(run_lammps, script(model, "run 0 post no\n"))
    body = (
        "set atom 1*96 type/fraction 2 0.0 1\nset type 2 type/fraction 4 0.5 4711\nrun 0 post no\n"
    )
    found = state(run_lammps, script(model, body, coefficients=f"* * {model} O H H H"))
    assert_same(found, expected)


@pytest.mark.usefixtures("box")
def test_nofdotr_and_a_second_pair_style_command(run_lammps: RunLammps, model_folder: Path) -> None:
    model = model_folder / "2-float64.pt"
    expected = reference(run_lammps, script(model))
    assert_same(state(run_lammps, script(model, "pair_modify nofdotr\n" + MOVE)), expected)
    again = f"pair_style ekd ghosts wide\npair_coeff * * {model} O H N C\n"
    assert_same(state(run_lammps, script(model, again + MOVE)), expected)
    kept = "pair_style ekd block 10\n"  # for the same style, LAMMPS keeps the coefficients
    assert_same(state(run_lammps, script(model, kept + MOVE)), expected)


@pytest.mark.usefixtures("box")
def test_cleared_and_loaded_again(run_lammps: RunLammps, model_folder: Path) -> None:
    """Another model in between has no effect."""
    model = model_folder / "2-float64.pt"
    again = "\nclear\n" + script(model)
    between = script(model_folder / "3-float64.pt", style="ekd ghosts wide") + again
    assert_same(state(run_lammps, between, 2), reference(run_lammps, script(model)))


@pytest.mark.usefixtures("box")
def test_runs_without_setup_and_multiple_runs(run_lammps: RunLammps, model_folder: Path) -> None:
    model = model_folder / "2-float64.pt"
    pieces = MOVE.replace("run 25 post no", "run 10 post no\nrun 5 pre no post no\nrun 10 post no")
    assert_same(state(run_lammps, script(model, pieces)), reference(run_lammps, script(model)))


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    "fix",
    [
        "fix move all npt temp 300 300 0.1 iso 0 1000 0.5",
        "fix move all npt temp 300 300 0.1 aniso 0 1000 0.5",
        "change_box all triclinic\nfix move all npt temp 300 300 0.1 tri 0 1000 0.5",
        "fix move all nve\nfix squeeze all deform 1 x scale 0.9 remap x",
        "change_box all triclinic\nfix move all nve\nfix shear all deform 1 xy erate 5 remap x",
    ],
    ids=["iso", "aniso", "tri", "deform", "shear"],
)
def test_moving_boxes(run_lammps: RunLammps, model_folder: Path, fix: str) -> None:
    body = f"velocity all create 300 4711 loop geom\n{fix}\ntimestep 0.0005\nrun 20 post no\n"
    model = model_folder / "2-float64.pt"
    expected = state(run_lammps, script(model, body, style="ekd ghosts wide"))
    # Over twenty steps, the thermostat amplifies rounding differences.
    assert_same(state(run_lammps, script(model, body), 2), expected, rtol=1e-8)


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("relax", ["iso 0.0", "aniso 1000.0", "tri 0.0"])
def test_minimization_and_box_relaxation(
    run_lammps: RunLammps, model_folder: Path, relax: str
) -> None:
    """The energy decreases, with the same result on two ranks and on one with wide ghosts."""
    body = f"""
change_box all triclinic
run 0 post no
print "before $(pe:%20.15g)"
fix relax all box/relax {relax} vmax 0.001
minimize 0 1e-3 5 20
"""
    model = model_folder / "2-float64.pt"
    run = run_lammps(script(model, body), 2)
    assert run.returncode == 0, run.screen[-3000:]
    found = run.printed("state")
    assert found[0] < run.printed("before")[0]
    expected = state(run_lammps, script(model, body, style="ekd ghosts wide"))
    # Line searches amplify rounding differences, as thermostats do.
    assert_same(np.array(found), expected, rtol=1e-8)


@pytest.mark.usefixtures("box")
def test_rerun_reproduces_the_energies(run_lammps: RunLammps, model_folder: Path) -> None:
    body = (
        """
dump frames all custom 5 frames.dump id type x y z
dump_modify frames format float %20.15g
variable e equal pe
fix log all print 5 "${e}" file run.energies screen no
"""
        + MOVE
        + """
undump frames
unfix log
unfix integrate
fix log all print 1 "${e}" file rerun.energies screen no
rerun frames.dump dump x y z
"""
    )
    run = run_lammps(script(model_folder / "2-float64.pt", body))
    assert run.returncode == 0, run.screen[-3000:]
    first = np.loadtxt(run.folder / "run.energies", skiprows=1)
    second = np.loadtxt(run.folder / "rerun.energies", skiprows=1)
    np.testing.assert_allclose(second[-len(first) :], first, rtol=1e-10)


@pytest.mark.usefixtures("box")
def test_replicas_of_one_run(run_lammps: RunLammps, model_folder: Path) -> None:
    """Each of two partitions with two ranks uses its own communicator."""
    text = "variable which world a b\n" + script(model_folder / "2-float64.pt")
    text += '\nprint "state $(pe:%22.16g)" file energy.${which} screen no\n'
    run = run_lammps(text, 4, arguments=["-partition", "2x2"])
    assert run.returncode == 0, run.screen[-3000:]
    energies = [(run.folder / f"energy.{name}").read_text() for name in "ab"]
    assert energies[0] == energies[1]
    expected = state(run_lammps, script(model_folder / "2-float64.pt"))
    assert float(energies[0].split()[1]) == pytest.approx(expected[0], rel=1e-9)


@pytest.mark.usefixtures("box")
def test_respa_is_refused(run_lammps: RunLammps, model_folder: Path) -> None:
    body = "run_style respa 2 2 inner 1 1.0 2.0 outer 2\nfix integrate all nve\nrun 1\n"
    run = run_lammps(script(model_folder / "1-float64.pt", body))
    assert run.returncode != 0
    assert "respa" in run.error.lower(), run.screen[-2000:]


@pytest.mark.usefixtures("box")
def test_heat_flux_needs_a_local_model(run_lammps: RunLammps, model_folder: Path) -> None:
    """Centroid virials are exact with one interaction; with more, LAMMPS refuses the compute."""
    body = "compute centroid all centroid/stress/atom NULL virial\n"
    body += "compute sum all reduce sum c_centroid[1] c_centroid[2] c_centroid[3]\n"
    body += "thermo_style custom step pe pxx c_total[*] c_pressure[*] c_sum[*]\n"
    end = '\nprint "centroid $(-c_sum[1]/vol:%22.16g) $(-c_sum[2]/vol:%22.16g) '
    end += '$(-c_sum[3]/vol:%22.16g)"\n'
    for n_ranks in (1, 4):
        run = run_lammps(script(model_folder / "1-float64.pt", body + MOVE) + end, n_ranks)
        assert run.returncode == 0, run.screen[-3000:]
        pressure = run.printed("state")[1:4]
        np.testing.assert_allclose(run.printed("centroid"), pressure, rtol=1e-9)
    several = model_folder / "2-float64.pt"
    alone = script(several, body + MOVE)
    overlay = script(
        several,
        body + MOVE,
        style="hybrid/overlay ekd zero 2.0",
        coefficients=f"* * ekd {several} O H N C\npair_coeff * * zero",
    )
    for text in (alone, overlay):
        run = run_lammps(text)
        assert run.returncode != 0
        assert "does not support compute centroid/stress/atom" in run.error


@pytest.mark.usefixtures("box")
def test_no_stall_in_the_first_steps(run_lammps: RunLammps, model_folder: Path) -> None:
    """The self-test has evaluated the model before step 0."""
    body = """
fix integrate all nve
timestep 0.0001
variable seconds equal cpu
fix log all print 1 "${seconds}" file times screen no
run 60 post no
"""
    ratios = []
    for _ in range(3):
        run = run_lammps(script(model_folder / "2-float64.pt", body))
        assert run.returncode == 0, run.screen[-3000:]
        times = np.diff(np.loadtxt(run.folder / "times", skiprows=1))
        ratios.append(times[:5].max() / np.median(times[20:]))
        # A compilation would take as long as hundreds of steps on any machine. Other load on
        # the machine may disturb a run, but a stall would occur in every run.
        if ratios[-1] < 30:
            return
    raise AssertionError(ratios)
