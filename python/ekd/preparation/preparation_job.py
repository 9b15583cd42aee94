"""The steps of a preparation: read, analyze, select, write; each can be killed and resumed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import (
    Progress,
)

from ekd.data import prepared
from ekd.data.isolated_atoms import merge, only_isolated_atoms
from ekd.data.readers import Request, Source
from ekd.data.readers.prepared_files import PreparedSource
from ekd.data.readers.source import no_energies, nothing_selected
from ekd.errors import ConfigError, DataError, EKDError
from ekd.files import require_state, sha256, sync
from ekd.preparation import data_plot
from ekd.preparation.analysis import Analysis, analyse
from ekd.preparation.data_summary import Summary
from ekd.preparation.description import describe, doubts_about, types_of
from ekd.preparation.kept_arrays import KeptArrays
from ekd.preparation.staging import Staging

_COINCIDENT = 1e-3  # Å; the neighbor list refuses closer pairs


_CONFLICT = 0.01  # eV


@dataclass(frozen=True)
class Options:
    """What is dropped, and how the file is written."""

    drop_duplicates: bool
    drop_outliers: bool
    drop_incomplete: bool
    outlier_deviations: float
    min_distance: float
    compress: bool
    level_of_theory: str | None

    def __post_init__(self) -> None:
        for name in ("outlier_deviations", "min_distance"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}; expected a number above zero",
                    code="EKD-CONFIG-011",
                )


class PreparationJob:
    """One preparation: inputs, options, and the folder of finished work.

    Args:
        output: file to write.
        sources: opened inputs.
        requests: what to read from each input.
        options: what is dropped, and how the file is written.
        bars: progress bars.
        file_states: states of the input files when they were opened.

    Raises:
        DataError: the inputs state different levels of theory.
    """

    def __init__(
        self,
        output: Path,
        sources: list[Source],
        requests: list[Request],
        options: Options,
        bars: Progress,
        file_states: Sequence[tuple[int, ...] | None],
    ) -> None:
        self.output = output
        self.file_states = file_states
        self.sources = sources
        self.requests = requests
        self.options = options
        self.bars = bars
        self.doubts: list[str] = []
        self.level = _level_of_theory(sources, options.level_of_theory)
        self.has_forces = all(source.has_forces for source in sources)
        self.work_folder = output.with_name(f".{output.name}.work")
        self.checksums = self._checksums()
        reading = [
            request.to_json() | {"sha256": checksum}
            for request, checksum in zip(requests, self.checksums, strict=True)
        ]
        self.reading = {"sources": reading}
        self.request = {"sources": reading, "options": asdict(options)}

    def run(self, overwrite: bool) -> Summary:
        """Do the remaining work.

        Args:
            overwrite: replace an output made from other inputs or options.
        """
        if (complete := self._complete(overwrite)) is not None:
            if self.work_folder.exists():  # a kill came between the last two steps
                with contextlib.suppress(EKDError), self._staging() as staging:
                    staging.remove()
            return complete
        with self._staging() as staging:
            self._read(staging)
            for source, state in zip(self.sources, self.file_states, strict=True):
                require_state(source.path, state)
            analysis = self._analyse(staging)
            kept, found, dropped = self._choose(staging, analysis)
            summary = self._write(staging, analysis, kept, found, dropped)
            staging.remove()
        return summary

    def _staging(self) -> Staging:
        return Staging(self.work_folder, self.reading, self.has_forces)

    def _complete(self, overwrite: bool) -> Summary | None:
        """Return the summary if the same call has already written the output."""
        if not self.output.exists():
            return None
        try:
            header = prepared.read_header(self.output)
        except DataError:
            header = None
        if header is not None and header.preparation.get("request") == self.request:
            content = header.preparation["summary"]
            return Summary.from_json(content, str(self.output), header.fingerprint)
        if not overwrite:
            what = "is no prepared file" if header is None else "has other inputs or options"
            raise DataError(
                f"'{self.output}' exists and {what}; choose another output, or replace it with "
                "--overwrite",
                code="EKD-DATA-065",
            )
        return None

    def _checksums(self) -> list[str]:
        task = self.bars.add_task("checksums", total=len(self.sources))
        checksums = []
        for source in self.sources:
            checksums.append(sha256(source.path))
            self.bars.advance(task)
        return checksums

    def _read(self, staging: Staging) -> None:
        totals = [source.n_configs for source in self.sources]
        for index in range(staging.source, len(self.sources)):
            source = self.sources[index]
            task = self.bars.add_task(f"reading {source.path.name}", total=totals[index])
            self.bars.advance(task, staging.n_read)
            for block in source.blocks(staging.n_read):
                staging.append(block, source.path)
                self.bars.advance(task, block.n_read)
            if staging.n_read == 0:
                raise DataError(
                    f"'{source.path}' has no configurations; check that the file is complete",
                    code="EKD-DATA-003",
                )
            if staging.dropped[index] == staging.n_read:
                raise no_energies(source.path, source.energy_key, staging.n_read)
            source.verdict(staging.seen[index])
            if staging.dropped[index] + staging.seen[index].n_left_out == staging.n_read:
                raise nothing_selected(source.path, staging.n_read)
            self.bars.update(task, total=staging.n_read)
            if isinstance(source, PreparedSource):
                known = prepared.read_header(source.path).reference_energies
                merge(staging.isolated_atoms, known or {}, source.path)
            staging.next_source()
        for source, seen in zip(self.sources, staging.seen, strict=True):
            self.doubts += source.verdict(seen)
        staging.commit()
        if len(staging.array("sizes")) == 0:
            raise only_isolated_atoms("', '".join(source.path.name for source in self.sources))

    def _analyse(self, staging: Staging) -> Analysis:
        task = self.bars.add_task("looking", total=len(staging.array("sizes")))
        return analyse(
            staging, self.options.outlier_deviations, lambda n: self.bars.advance(task, n)
        )

    def _choose(
        self, staging: Staging, analysis: Analysis
    ) -> tuple[NDArray[np.bool_], dict[str, int], dict[str, int]]:
        """Return a mask of what is kept, counts of suspicious and of dropped configurations."""
        options, unusable = self.options, analysis.unusable
        if unusable.any() and not options.drop_incomplete:
            counts = {what: int(mask.sum()) for what, mask in analysis.gaps.items()}
            listed = ", ".join(f"{number} with {what}" for what, number in counts.items() if number)
            raise DataError(
                f"{int(unusable.sum())} configurations with an energy cannot be used: {listed}; "
                "--drop-incomplete leaves them out",
                code="EKD-DATA-066",
            )
        close = ~unusable & (analysis.contacts < options.min_distance)
        coincident = np.flatnonzero(close & (analysis.contacts < _COINCIDENT))
        if len(coincident) and not options.drop_outliers:
            name = staging.group_names[staging.array("group_index")[coincident[0]]]
            raise DataError(
                f"{len(coincident)} configurations have atoms on top of each other, the first one "
                f"in '{name}'; --drop-outliers leaves them out",
                code="EKD-DATA-067",
            )
        outliers = analysis.energy_outliers | close
        dropped = {
            "no_energy": sum(staging.dropped),
            "not_selected": sum(seen.n_unselected for seen in staging.seen),
            "other_charge_or_spin": sum(seen.n_other_states for seen in staging.seen),
            "incomplete": int(unusable.sum()),
        }
        kept = ~unusable
        dropped["outliers"] = int((outliers & kept).sum()) if options.drop_outliers else 0
        if options.drop_outliers:
            kept &= ~outliers
        # If the first configuration with a geometry was dropped, the next one is kept.
        first = np.full(len(kept), len(kept))
        np.minimum.at(first, analysis.first_of[kept], np.flatnonzero(kept))
        repeated = kept & (first[analysis.first_of] != np.arange(len(kept)))
        dropped["duplicates"] = int(repeated.sum()) if options.drop_duplicates else 0
        if options.drop_duplicates:
            kept &= ~repeated
        if not kept.any():
            raise DataError(
                "no configuration is left after dropping; loosen the limits", code="EKD-DATA-068"
            )
        energies = staging.array("energies")
        later = np.flatnonzero(analysis.duplicates)
        conflicts = np.abs(energies[later] - energies[analysis.first_of[later]]) > _CONFLICT
        found = {
            "duplicates": len(later),
            "conflicting_duplicates": int(conflicts.sum()),
            "energy_outliers": int(analysis.energy_outliers.sum()),
            "short_contacts": int(close.sum()),
        }
        return kept, found, dropped

    def _write(
        self,
        staging: Staging,
        analysis: Analysis,
        kept: NDArray[np.bool_],
        found: dict[str, int],
        dropped: dict[str, int],
    ) -> Summary:
        columns = KeptArrays(staging, analysis.offsets, kept)
        content = describe(staging, analysis, kept, columns)
        summary = Summary(
            path=str(self.output), fingerprint="", level_of_theory=self.level,
            found=found, dropped=dropped, **content,
            data_warnings=(*self.doubts, *doubts_about(staging, analysis, kept, columns)),
            types=types_of(staging),
            not_read=dict(sum((s.unused for s in staging.seen), Counter())),
        )  # fmt: skip
        image, result = self.work_folder / "picture.png", self.work_folder / "prepared.h5"
        data_plot.draw(analysis, self.options.min_distance, self.output.name, image)
        task = self.bars.add_task(f"writing {self.output.name}", total=columns.n_bytes)
        prepared.write(
            result,
            {name: columns.pieces(name) for name in columns.shapes},
            columns.shapes,
            columns.group_names,
            self.level,
            sum(dropped.values()),
            {
                "sources": self._provenance(staging),
                "request": self.request,
                "summary": summary.to_json(),
            },
            self.options.compress,
            analysis.isolated_atoms or None,
            advance=lambda n_bytes: self.bars.advance(task, n_bytes),
        )
        sync(image)
        sync(result)
        image.replace(self.output.with_suffix(".png"))
        result.replace(self.output)
        sync(self.output.parent)
        fingerprint = prepared.read_header(self.output).fingerprint
        return Summary.from_json(summary.to_json(), str(self.output), fingerprint)

    def _provenance(self, staging: Staging) -> list[dict[str, Any]]:
        """One entry per source, without its folder, which does not affect the content."""
        return [
            {
                "name": source.path.name,
                "sha256": checksum,
                "energy": source.energy_key,
                "forces": request.forces,
                "energy_unit": request.energy_unit,
                "level_of_theory": source.level_of_theory,
                "n_without_energy": n_dropped,
            }
            for source, request, checksum, n_dropped in zip(
                self.sources, self.requests, self.checksums, staging.dropped, strict=True
            )
        ]


def _level_of_theory(sources: list[Source], given: str | None) -> str:
    if given is not None:
        return given
    levels: dict[str, Path] = {}
    for source in sources:
        levels.setdefault(source.level_of_theory, source.path)
    if len(levels) > 1:
        listed = ", ".join(f"'{level}' ({path.name})" for level, path in levels.items())
        raise DataError(
            f"the inputs state different levels of theory: {listed}; their energies must not be "
            "mixed. If they are the same level, name it with --level-of-theory",
            code="EKD-DATA-069",
        )
    return next(iter(levels))
