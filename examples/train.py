"""The whole method from Python: energies in, a student for ASE and LAMMPS out.

Run it in this folder with ``python train.py``. It takes some minutes.
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

    # Energies alone teach the teachers.
    training = ekd.TrainingConfig(epochs=epochs)
    teachers = ekd.train_ensemble(data, n_members=n_members, training=training)

    # The mean of their forces, atom by atom, is what the student learns beside the energies.
    labels = ekd.label(teachers, data)
    # With forces it cannot overfit so soon: it may train longer.
    training = ekd.StudentTrainingConfig(epochs=2 * epochs)
    student = ekd.distill(data, labels, training=training, seed=n_members)
    student.export(model, description="distilled from CCSD(T)/cc-pVDZ energies")

    # From here on the file is enough.
    atoms = molecule("CH3OH")
    atoms.calc = ekd.EKDCalculator(model)
    print(f"energy of methanol: {atoms.get_potential_energy():.3f} eV")
    print(f"largest force component: {abs(atoms.get_forces()).max():.3f} eV/Å")


if __name__ == "__main__":
    main()
