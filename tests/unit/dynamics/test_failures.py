"""Each failure criterion, with a frame that violates only this one."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import molecule

from ekd.dynamics import FailureConfig
from ekd.dynamics.failures import KINDS, Watch, temperature_of
from ekd.errors import ConfigError
from systems import water_box


@pytest.fixture
def watch() -> Watch:
    return Watch(molecule("CH3OH"), FailureConfig(), 300.0)


def test_bonds_of_methanol(watch: Watch) -> None:
    names = ["".join(sorted(watch.atoms.symbols[[int(i), int(j)]])) for i, j in watch.bonds.T]
    assert sorted(names) == ["CH", "CH", "CH", "CO", "HO"]


def test_good_frame(watch: Watch) -> None:
    assert watch.look(watch.atoms.positions, 300.0, 0.5) is None
    moved = watch.atoms.positions + 1000.0
    assert watch.look(moved, 300.0, 0.0) is None


@pytest.mark.parametrize(
    ("change", "temperature", "energy", "kind"),
    [
        (2.0, 300.0, 0.0, "bond"),
        (-0.55, 300.0, 0.0, "contact"),
        (-0.97, 300.0, 0.0, "contact"),
        (0.0, 3000.0, 0.0, "temperature"),
        (0.0, 300.0, -6.1, "energy"),
        (0.0, 300.0, 6.1, "energy"),
        (np.nan, 300.0, 0.0, "numbers"),
        (0.0, 300.0, np.inf, "numbers"),
    ],
)
def test_ways_to_fail(
    watch: Watch, change: float, temperature: float, energy: float, kind: str
) -> None:
    """The hydrogen of OH moves along its bond of 0.97 Å by ``change``."""
    oxygen, hydrogen = 1, 3
    positions = watch.atoms.positions.copy()
    along = positions[hydrogen] - positions[oxygen]
    assert np.linalg.norm(along) == pytest.approx(0.97, abs=0.01)
    positions[hydrogen] += change * along / np.linalg.norm(along)
    assert watch.look(positions, temperature, energy) == kind
    assert kind in KINDS


def test_too_hot_depends_on_the_size() -> None:
    """Small molecules fluctuate; the limit exceeds the fluctuations of any canonical run."""
    small = Watch(molecule("H2O"), FailureConfig(), 300.0)
    box = Watch(water_box(2), FailureConfig(), 300.0)
    assert small.hottest > 2000
    assert 300 < box.hottest < 1000
    random = np.random.default_rng(0)
    masses = molecule("H2O").get_masses()
    thermal = np.sqrt(masses * units.kB * 300)[:, None]
    found = [temperature_of(thermal * random.normal(size=(3, 3)), masses) for _ in range(3000)]
    assert np.mean(found) == pytest.approx(300, rel=0.03)
    assert max(found) < small.hottest


def test_bonds_across_the_boundary() -> None:
    box = water_box(2)
    box.translate([0.0, 0.0, 3.1])
    box.wrap()
    watch = Watch(box, FailureConfig(), 300.0)
    assert watch.bonds.shape == (2, 16)  # two for each of eight molecules
    assert watch.look(box.positions, 300.0, 0.0) is None
    unwrapped = box.positions + box.cell.array[1]
    assert watch.look(unwrapped, 300.0, 0.0) is None
    box.positions[watch.bonds[1, 0]] += [1.0, 1.0, 0.0]
    assert watch.look(box.positions, 300.0, 0.0) == "bond"


def test_limits_have_an_order() -> None:
    with pytest.raises(ConfigError, match="contact_factor < bond_factor < broken_factor"):
        FailureConfig(broken_factor=1.2)
