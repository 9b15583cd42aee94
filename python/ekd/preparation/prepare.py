"""From any number of files to one prepared file, through steps that a kill cannot spoil."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ekd.data import doubts, prepared
from ekd.data.isolated_atoms import merge, only_isolated_atoms
from ekd.data.readers import Request, Source, open_source
from ekd.data.readers.hdf5_groups import SUFFIXES
from ekd.data.readers.prepared import PreparedSource
from ekd.data.readers.source import config_ranges, no_energies, nothing_selected
from ekd.elements import symbol
from ekd.errors import ConfigError, DataError, EKDError
from ekd.files import cannot_write, require_state, sha256, state_of, sync
from ekd.preparation import picture
from ekd.preparation.analysis import Analysis, analyse
from ekd.preparation.staging import Staging
from ekd.preparation.summary import Summary

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
PerInput = str | Sequence[str | None] | None

_COINCIDENT = 1e-3  # Å; the neighbour list refuses closer pairs
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


def prepare_dataset(
    inputs: Paths,
    output: str | os.PathLike[str],
    energy: PerInput = None,
    forces: PerInput = None,
    energy_unit: PerInput = None,
    *,
    length_unit: PerInput = None,
    gradients: bool = False,
    format: PerInput = None,
    keys: Mapping[str, str] | None = None,
    where: Mapping[str, Any] | None = None,
    states: Literal["neutral", "all"] | None = None,
    level_of_theory: str | None = None,
    drop_duplicates: bool = False,
    drop_outliers: bool = False,
    drop_incomplete: bool = False,
    outlier_deviations: float = 20.0,
    min_distance: float = 0.4,
    compress: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> Summary:
    """Convert data files to one prepared file, which :func:`ekd.load_dataset` reads without keys.

    Keys and units are given once for all inputs, or as a sequence with one for each.
    Configurations without an energy are left out and counted. Beside the file a picture with
    histograms is written, ``.png`` instead of ``.h5``.

    The result depends on the inputs and options alone. Killed at any moment, the same call goes
    on where it was: what has been read waits in ``.NAME.work`` beside the output. Called once
    more after it is done, it returns the summary in the file.

    Args:
        inputs: one file or several, of any format of :func:`ekd.load_dataset`.
        output: ``.h5`` file to write.
        energy: key of the energy; None: see :func:`ekd.load_dataset`.
        forces: key of the forces; None: energies alone. Kept where all inputs have them.
        energy_unit: None: as the file or its format has it.
        length_unit: None: as the file or its format has it.
        gradients: the forces are gradients of the energy: turn their sign.
        format: name of a format of ASE; None: by suffix and content.
        keys: where the inputs have positions, atomic numbers and cells, see
            :func:`ekd.load_dataset`; the same for all.
        where: values of keys that configurations must have, see there; the same for all.
        states: what is done with charges and spins, see there.
        level_of_theory: in words; None: what the inputs state.
        drop_duplicates: keep the first configuration of every geometry.
        drop_outliers: drop energies and contacts beyond the two limits below.
        drop_incomplete: drop what has an energy but no finite positions, no finite forces (where
            they were asked for), no atoms, or no proper cell, instead of refusing it.
        outlier_deviations: energies per atom, less the reference energies, are outliers if they
            are this many robust standard deviations (1.4826 MAD) from the median of their
            formula, or of all formulas that occur fewer than 10 times.
        min_distance: Å; configurations with a closer contact are outliers.
        compress: chunked and compressed; otherwise the arrays can be streamed as they are.
        overwrite: replace an output of other inputs or options.
        progress: show progress on standard error, if it is a terminal.

    Raises:
        ConfigError: an option is impossible, or there are more or fewer keys than inputs.
        DataError: an input is missing or damaged or lacks what was asked of it, or the output is in
            the way or cannot be written.
        EKDError: another process is preparing the same output.
    """
    output = Path(output)
    paths = [Path(p) for p in ([inputs] if isinstance(inputs, (str, os.PathLike)) else inputs)]
    options = Options(
        drop_duplicates, drop_outliers, drop_incomplete, outlier_deviations, min_distance,
        compress, level_of_theory,
    )  # fmt: skip
    _check_paths(paths, output)
    columns = {
        "energy": energy, "forces": forces, "energy_unit": energy_unit,
        "length_unit": length_unit, "format": format,
    }  # fmt: skip
    requests = _requests(paths, gradients, columns, keys, where, states)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
    ) as bars:
        file_states = [state_of(path) for path in paths]
        sources = [open_source(path, one) for path, one in zip(paths, requests, strict=True)]
        job = _Job(output, sources, requests, options, bars, file_states)
        try:
            return job.run(overwrite)
        except OSError as error:  # those of the inputs are explained where they are read
            problem = cannot_write(output, error)
            raise DataError(problem.message, code=problem.code) from error


class _Job:
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
        """The summary of what the same call has written before."""
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
        """[n_configs] which are kept; how many are peculiar; how many are dropped, and why."""
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
        # The first of its geometry may itself be an outlier: then the next one is kept.
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
        columns = _Columns(staging, analysis.offsets, kept)
        content = _describe(staging, analysis, kept, columns)
        summary = Summary(
            path=str(self.output), fingerprint="", level_of_theory=self.level,
            found=found, dropped=dropped, **content,
            data_warnings=(*self.doubts, *_doubts(staging, analysis, kept, columns)),
            types=_types(staging), not_read=dict(sum((s.unused for s in staging.seen), Counter())),
        )  # fmt: skip
        image, result = self.work_folder / "picture.png", self.work_folder / "prepared.h5"
        picture.draw(analysis, self.options.min_distance, self.output.name, image)
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
        """One entry per source, without its folder: that is not what the content depends on."""
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


class _Columns:
    """The arrays of the prepared file: the kept rows of the staged ones."""

    def __init__(
        self, staging: Staging, offsets: NDArray[np.int64], kept: NDArray[np.bool_]
    ) -> None:
        self._staging = staging
        self._offsets = offsets
        self._kept = kept
        self._sizes = np.diff(offsets)
        groups = staging.array("group_index")[kept]
        used, self._group_index = np.unique(groups, return_inverse=True)
        self.group_names = [staging.group_names[index] for index in used]
        n_configs, n_atoms = int(kept.sum()), int(self._sizes[kept].sum())
        self.shapes: dict[str, tuple[int, ...]] = {
            "offsets": (n_configs + 1,),
            "atomic_numbers": (n_atoms,),
            "positions": (n_atoms, 3),
            "energies": (n_configs,),
            "group_index": (n_configs,),
        }
        if staging.array("pbc")[kept].any():
            self.shapes |= {"cells": (n_configs, 3, 3), "pbc": (n_configs, 3)}
        if len(staging.array("forces")):
            self.shapes["forces"] = (n_atoms, 3)

    @property
    def n_bytes(self) -> int:
        """Of all arrays, as they are stored."""
        return sum(prepared.row_bytes(name) * shape[0] for name, shape in self.shapes.items())

    def pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """The rows of one array, piece by piece."""
        if name == "offsets":
            yield np.concatenate([[0], np.cumsum(self._sizes[self._kept])])
        elif name == "group_index":
            yield self._group_index.reshape(-1)
        elif name in ("energies", "cells", "pbc"):
            array = self._staging.array(name)
            for first, last in config_ranges(self._offsets):
                yield array[first:last][self._kept[first:last]]
        else:
            array = self._staging.array(name)
            for first, last in config_ranges(self._offsets):
                rows = np.repeat(self._kept[first:last], self._sizes[first:last])
                yield array[self._offsets[first] : self._offsets[last]][rows]


def _describe(
    staging: Staging, analysis: Analysis, kept: NDArray[np.bool_], columns: _Columns
) -> dict[str, Any]:
    """The entries of a summary that are about what is kept."""
    names = [symbol(int(number)) for number in analysis.elements]
    atoms = analysis.composition[kept].sum(axis=0)
    sizes, energies = np.diff(analysis.offsets)[kept], staging.array("energies")[kept]
    residuals = analysis.residuals[kept]
    near = analysis.pair_contacts
    forces = None
    if "forces" in columns.shapes:
        square, largest = 0.0, 0.0
        for piece in columns.pieces("forces"):
            square += float(np.square(piece).sum())
            largest = max(largest, float(np.abs(piece).max(initial=0.0)))
        forces = (float(np.sqrt(square / (3 * columns.shapes["forces"][0]))), largest)
    return {
        "n_configs": len(sizes),
        "n_atoms": int(sizes.sum()),
        "n_formulas": len(np.unique(analysis.composition[kept], axis=0)),
        "n_periodic": int(staging.array("pbc")[kept].any(axis=1).sum()),
        "elements": {name: int(n) for name, n in zip(names, atoms, strict=True) if n},
        "sizes": (int(sizes.min()), float(sizes.mean()), int(sizes.max())),
        "energies": (float(energies.min()), float(energies.max())),
        "reference_energies": {symbol(z): e for z, e in analysis.reference_energies.items()},
        "isolated_atoms": {symbol(z): e for z, e in analysis.isolated_atoms.items()},
        "reference_warnings": tuple(analysis.reference_warnings(kept, energies)),
        "residuals": (
            float(residuals.min()),
            float(np.sqrt(np.mean(np.square(residuals)))),
            float(residuals.max()),
        ),
        "contacts": {
            f"{names[i]}-{names[j]}": float(near[i, j])
            for i in range(len(names))
            for j in range(i, len(names))
            if np.isfinite(near[i, j])
        },
        "forces": forces,
        "work": analysis.work and asdict(analysis.work),
    }


def _doubts(
    staging: Staging, analysis: Analysis, kept: NDArray[np.bool_], columns: _Columns
) -> list[str]:
    """What is doubtful about the arrays, as :func:`ekd.load_dataset` says it."""
    sizes = {seen.precision.size for seen in staging.seen if seen.precision.n}
    energies = np.asarray(staging.array("energies"))[kept]
    elements = analysis.elements.tolist()
    found = doubts.of_energies(
        "the data", elements, analysis.composition[kept], energies,
        sizes.pop() if len(sizes) == 1 else None,
    )  # fmt: skip
    numbers, positions = staging.array("atomic_numbers"), staging.array("positions")
    cells, pbc = staging.array("cells"), staging.array("pbc")
    if not analysis.unusable.any():
        found.append(
            doubts.of_lengths("the data", numbers, positions, analysis.offsets, cells, pbc)
        )
    if "forces" in columns.shapes:
        offsets, forces = analysis.offsets, staging.array("forces")
        n_zero = sum(
            doubts.n_zero_forces(
                np.asarray(forces[offsets[first] : offsets[last]]), offsets[first : last + 1]
            )
            for first, last in config_ranges(offsets)
        )
        found.append(doubts.of_zero_forces("the data", n_zero, len(offsets) - 1))
    return [text for text in found if text is not None]


def _types(staging: Staging) -> dict[str, dict[str, int]]:
    """Configurations by key and value, where there are several values, and not too many."""
    counts: dict[str, Counter[str]] = {}
    for seen in staging.seen:
        for key, values in seen.types.items():
            counts.setdefault(key, Counter()).update(values)
    return {key: dict(values) for key, values in counts.items() if 1 < len(values) <= 50}


def _check_paths(paths: list[Path], output: Path) -> None:
    if not paths:
        raise ConfigError("no input; name one file or more", code="EKD-CONFIG-033")
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"the output '{output}' must end in .h5, by which it is recognized",
            code="EKD-CONFIG-027",
        )
    if output.is_dir():
        raise DataError(
            f"'{output}' is a folder; name a file to write, such as data.h5", code="EKD-RUN-012"
        )
    if output.absolute() in [path.absolute() for path in paths]:
        raise ConfigError(
            f"'{output}' is both input and output; choose another output", code="EKD-CONFIG-034"
        )


def _requests(
    paths: list[Path],
    gradients: bool,
    given_once_or_each: dict[str, PerInput],
    keys: Mapping[str, str] | None,
    where: Mapping[str, Any] | None,
    states: str | None,
) -> list[Request]:
    columns = {}
    for name, given in given_once_or_each.items():
        values = [given] if given is None or isinstance(given, str) else list(given)
        if len(values) not in (1, len(paths)):
            raise ConfigError(
                f"{name} is given {len(values)} times for {len(paths)} inputs; give it once, or "
                "once for each",
                code="EKD-CONFIG-035",
            )
        columns[name] = values * (len(paths) if len(values) == 1 else 1)
    return [
        Request(
            energy=columns["energy"][index],
            forces=columns["forces"][index],
            energy_unit=columns["energy_unit"][index],
            length_unit=columns["length_unit"][index],
            gradients=gradients,
            format=columns["format"][index],
            keys=keys,
            where=where,
            states=states,
        )
        for index in range(len(paths))
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
            f"the inputs state different levels of theory: {listed}; energies of different levels "
            "do not mix. If they are the same, name it with --level-of-theory",
            code="EKD-DATA-069",
        )
    return next(iter(levels))
