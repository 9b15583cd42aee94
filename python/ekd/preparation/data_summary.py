"""Summary of a prepared file for users: as a table, and as JSON in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from ekd.data.readers.annotations import listed
from ekd.preparation.forces_check import Work, doubt


@dataclass(frozen=True)
class Summary:
    """Content of a prepared file and findings during preparation; plain JSON types.

    Attributes:
        path: the prepared file.
        fingerprint: fingerprint of its content.
        level_of_theory: level of theory of the energies.
        n_configs: configurations in the file.
        n_atoms: number of atoms in all configurations.
        n_formulas: different chemical formulas.
        n_periodic: configurations with periodic directions.
        elements: number of atoms of every element, by symbol.
        sizes: atoms per configuration: smallest, mean, largest.
        energies: total energies: smallest, largest (eV).
        reference_energies: fitted by least squares, by symbol (eV).
        residuals: (energy - reference energies) per atom: smallest, root mean square, largest (eV).
        contacts: smallest distance by pair of elements, as ``C-H`` (Å).
        forces: root mean square and largest component (eV/Å); None without forces.
        work: ``ratio``, ``correlation`` and ``n_pairs`` of energy differences of nearby
            configurations and the work of the forces; None if nothing can be compared.
        found: number of suspicious configurations that were read: ``duplicates``,
            ``conflicting_duplicates`` (energies differ by more than 10 meV), ``energy_outliers``,
            ``short_contacts``.
        dropped: configurations of the sources that are not in the file, by reason: ``no_energy``,
            ``not_selected``, ``other_charge_or_spin``, ``incomplete``, ``outliers``,
            ``duplicates``.
        isolated_atoms: energies of frames marked as isolated atoms, used by models instead of
            fitted ones, by symbol (eV); may be empty.
        reference_warnings: warnings about the reference energies, each with a remedy.
        data_warnings: other warnings, each with a remedy.
        types: configurations by key and value, for keys such as ``config_type``.
        not_read: configurations with a property that is not read, such as ``stress``.
    """

    path: str
    fingerprint: str
    level_of_theory: str
    n_configs: int
    n_atoms: int
    n_formulas: int
    n_periodic: int
    elements: dict[str, int]
    sizes: tuple[int, float, int]
    energies: tuple[float, float]
    reference_energies: dict[str, float]
    residuals: tuple[float, float, float]
    contacts: dict[str, float]
    forces: tuple[float, float] | None
    work: dict[str, float] | None
    found: dict[str, int]
    dropped: dict[str, int]
    isolated_atoms: dict[str, float] = field(default_factory=dict)
    reference_warnings: tuple[str, ...] = ()
    data_warnings: tuple[str, ...] = ()
    types: dict[str, dict[str, int]] = field(default_factory=dict)
    not_read: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all fields except path and fingerprint."""
        content = asdict(self)
        del content["path"], content["fingerprint"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], path: str, fingerprint: str) -> Summary:
        """Restore the result of :meth:`to_json`."""
        lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        return cls(path=path, fingerprint=fingerprint, **{**content, **lists})

    @property
    def warnings(self) -> list[str]:
        """Warnings to consider before training, each with a remedy."""
        return list(_warnings(self))

    def table(self) -> Table:
        """Return the summary as a table for the terminal."""
        table = Table(title=self.path, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in _rows(self):
            table.add_row(name, value)
        return table


def _rows(summary: Summary) -> list[tuple[str, str]]:
    smallest, mean, largest = summary.sizes
    low, rms, high = summary.residuals
    dropped = {name: number for name, number in summary.dropped.items() if number}
    rows = [
        ("configurations", f"{summary.n_configs:,} of {summary.n_formulas:,} formulas"),
        ("atoms", f"{summary.n_atoms:,}: {_list(summary.elements, '{:,}')}"),
        ("atoms per configuration", f"{smallest} to {largest}, mean {mean:.1f}"),
        ("level of theory", summary.level_of_theory),
        ("total energy", f"{summary.energies[0]:.3f} to {summary.energies[1]:.3f} eV"),
        ("reference energies", f"{_list(summary.reference_energies, '{:.3f}')} eV"),
        ("residual per atom", f"{low:.3f} to {high:.3f}, RMS {rms:.3f} eV"),
        ("closest contacts", f"{_list(summary.contacts, '{:.2f}')} Å" if summary.contacts else "–"),
    ]
    if summary.isolated_atoms:
        rows.insert(6, ("isolated atoms", f"{_list(summary.isolated_atoms, '{:.3f}')} eV"))
    if summary.n_periodic:
        rows.append(("periodic", f"{summary.n_periodic:,}"))
    if summary.forces is None:
        rows.append(("forces", "none"))
    else:
        rms, largest_force = summary.forces
        rows.append(("forces", f"RMS {rms:.3f}, largest {largest_force:.3f} eV/Å"))
    if summary.work is not None:
        ratio, correlation = summary.work["ratio"], summary.work["correlation"]
        rows.append(
            ("energy change / work of forces", f"{ratio:.3f}, correlation {correlation:.3f}")
        )
    for key, counts in summary.types.items():
        rows.append((key, listed(counts)))
    if summary.not_read:
        rows.append(("not used", f"{listed(summary.not_read)}: ekd trains on energies"))
    rows.append(("found", _list(summary.found, "{:,}")))
    rows.append(("dropped", _list(dropped, "{:,}") or "nothing"))
    rows.append(("fingerprint", summary.fingerprint))
    return rows


def _warnings(summary: Summary) -> list[str]:
    warnings = [*summary.data_warnings, *summary.reference_warnings]
    found, dropped = summary.found, summary.dropped
    if found["duplicates"] and not dropped["duplicates"]:
        warnings.append(
            f"{found['duplicates']:,} configurations repeat an earlier geometry and may end up on "
            "both sides of a split: --drop-duplicates"
        )
    if found["conflicting_duplicates"]:
        warnings.append(
            f"{found['conflicting_duplicates']:,} duplicates have another energy than the first "
            "configuration with their geometry: are all energies at one level of theory?"
        )
    n_outliers = found["energy_outliers"] + found["short_contacts"]
    if n_outliers and not dropped["outliers"]:
        warnings.append(
            f"{found['energy_outliers']:,} energies and {found['short_contacts']:,} contacts are "
            "far from all others: look at the picture, or --drop-outliers"
        )
    if summary.work is not None and (text := doubt(Work(**_work(summary.work)))):
        warnings.append(text)
    return warnings


def _work(content: Mapping[str, float]) -> dict[str, Any]:
    return {**content, "n_pairs": int(content["n_pairs"])}


def _list(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {form.format(v)}" for name, v in values.items())
