"""Liquid water by single teachers and the students of a study: does it stay whole, and at 300 K?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import ekd
from ekd.config import WaterConfig
from ekd.errors import LammpsError
from ekd.files import atomic_write
from ekd.lammps.structures import water_box
from ekd.lammps.student_runs import run_water
from piece_settings import TEACHERS
from pieces import Row, Workshop
from study import Liquid
from tables import write_files

COLUMNS = ("set", "seed", "model", "box", "intact", "temperature")
"""Of liquid.csv: share of whole molecules at the end, and mean temperature in K; both are empty
where LAMMPS gave up."""


def flow(shop: Workshop, name: str, seed: int, liquid: Liquid) -> list[Row]:
    """Boxes of water, each relaxed by the model that moves it; finished ones are found again."""
    experiments = shop.experiments(liquid.variants, name, seed)
    teachers = shop.teachers(liquid.teachers_of, experiments)
    models: dict[str, ekd.TrainedModel] = {
        f"{TEACHERS} {k}": model for k, model in enumerate(teachers.members[: liquid.n_teachers])
    }
    models |= {e.variant.name: e.students.members[0] for e in experiments}
    config = WaterConfig(n_molecules=liquid.n_molecules, duration=liquid.duration)
    rows = []
    for model_name, model in models.items():
        for box in range(liquid.n_boxes):
            folder = shop.folder / f"liquid-{model.sha256[:12]}-{box}"
            row = {"set": name, "seed": seed, "model": model_name, "box": box}
            rows.append(row | _run(folder, model, config, box, shop.progress))
    return rows


def _run(
    folder: Path, model: ekd.TrainedModel, config: WaterConfig, box: int, progress: bool
) -> Row:
    path = folder / f"measured-{config.n_molecules}-{config.duration}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        model.export(folder / "model.pt")
        atoms = water_box(config.n_molecules, density=config.density, seed=box)
        found: Row = {"intact": None, "temperature": None}
        try:
            water = run_water(folder, atoms, folder / "model.pt", config, box, 1, progress)
            found = {"intact": water["intact_share"], "temperature": water["mean_temperature"]}
        except LammpsError:  # atoms on top of each other, or lost: the liquid is no more
            pass
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(found))
    result: Row = json.loads(path.read_text())
    return result


def write(rows: list[Row], folder: Path) -> str:
    """Write ``liquid.csv`` and ``liquid.md``; return the text."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        model = "single teacher" if row["model"].startswith(TEACHERS) else row["model"]
        groups.setdefault((row["set"], row["seed"], model), []).append(row)
    lines = [
        "# Liquid water",
        "",
        "| set | seed | model | boxes | broken down | whole | molecules intact | temperature (K) |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for group, found in groups.items():
        ran = [row for row in found if row["intact"] is not None]
        whole = sum(row["intact"] == 1 for row in ran)
        cells = [*group, len(found), len(found) - len(ran), whole]
        cells.append(f"{100 * sum(row['intact'] for row in ran) / len(found):.0f} %")
        cells.append(f"{np.mean([row['temperature'] for row in ran]):.0f}" if ran else "")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "*Broken down*: atoms came to lie on top of each other, or flew away. *Whole*: every "
        "molecule is water at the end. *Molecules intact*: mean share, none where the box broke "
        "down. *Temperature*: mean over the boxes that did not, where the thermostat is set to "
        "300 K.",
        "",
    ]
    text = "\n".join(lines)
    write_files(folder, "liquid", COLUMNS, rows, text)
    return text
