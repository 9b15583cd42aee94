"""The whole method in Python: from energies to a student for ASE and LAMMPS.

Run it in this folder with ``python train.py``. It takes a few minutes.
"""

from __future__ import annotations

from pathlib import Path

from ase.build import molecule

import ekd

HERE = Path(__file__).parent


def main(n_members: int = 4, epochs: int = 100, model: Path = HERE / "student.pt") -> None:
    """Train teachers, distill a student, export it, and use it."""
    energy = "ccsd(t)_ccpvdz.energy"
    data = ekd.load_dataset(HERE / "data" / "ccsdt_chno.h5", energy=energy)

    # Teachers are trained on energies alone.
    training = ekd.TrainingConfig(epochs=epochs)
    teachers = ekd.train_ensemble(data, n_members=n_members, training=training)

    # The student is trained on energies and on the mean of the teachers' forces on each atom.
    labels = ekd.label(teachers, data)
    # Forces reduce overfitting, so the student can be trained longer.
    training = ekd.StudentTrainingConfig(epochs=2 * epochs)
    student = ekd.distill(data, labels, training=training, seed=n_members)
    student.export(model, description="distilled from CCSD(T)/cc-pVDZ energies")

    # From here on, only the file is needed.
    atoms = molecule("CH3OH")
    atoms.calc = ekd.EKDCalculator(model)
    print(f"energy of methanol: {atoms.get_potential_energy():.3f} eV")
    print(f"largest force component: {abs(atoms.get_forces()).max():.3f} eV/Å")


if __name__ == "__main__":
    main()
