"""Writes the model with which ``ekd lammps build`` tests a new build of the style.

PYTHONPATH=tests python tests/golden/make_smoke_test.py
"""

from pathlib import Path

import ekd
from ekd.export import export_model
from models import random_network


def main() -> None:
    network, config = random_network(
        seed=11, n_interactions=2, n_features=6, n_sensitivities=5, n_atom_layers=1, n_hidden=3
    )
    target = Path(ekd.__file__).parent / "lammps" / "smoke_test.pt"
    export_model(network, target, config=config, description="Random numbers, to try LAMMPS with")


if __name__ == "__main__":
    main()
