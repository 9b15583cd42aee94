"""What each piece of a study depends on: pieces with the same settings are the same piece."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ekd
from ekd.pipeline.bases import learns_from_pool
from study import Study, Variant, resolve

TEACHERS = "teachers"

Settings = dict[str, Any]


@dataclass(frozen=True)
class PieceSettings:
    """Settings of the pieces of a variant, for one data set and seed.

    Attributes:
        study: the question.
        folder: of all pieces, shared by all studies.
        data: folder of data that are not shipped, or None.
        variant: of the study.
        name: of the data set.
        seed: of the experiment.
    """

    study: Study
    folder: Path
    data: Path | None
    variant: Variant
    name: str
    seed: int

    @cached_property
    def _resolved(self) -> tuple[Settings, Any]:
        return resolve(self.study, self.variant, self.name, self.seed, self.data)

    @property
    def raw(self) -> Settings:
        """The configuration as it is written: what is left to defaults is not in it."""
        return self._resolved[0]

    @property
    def config(self) -> ekd.Config:
        """The configuration with all defaults."""
        config: ekd.Config = self._resolved[1]
        return config

    def of(self, variant: Variant) -> PieceSettings:
        """Those of another variant, for the same data set and seed."""
        return PieceSettings(self.study, self.folder, self.data, variant, self.name, self.seed)

    @property
    def earlier(self) -> PieceSettings | None:
        """Those of the generation whose students are the teachers here; None: there is none."""
        name = self.variant.generation_of
        return None if name is None else self.of(self.study.variant(name))

    def folder_of(self, kind: str, settings: Settings) -> Path:
        """The folder of a piece, named after a checksum of all that it depends on."""
        # Where the data lie does not matter; that they are the same is for checkpoints to find out.
        data = {**self.raw["data"], "path": Path(self.raw["data"]["path"]).name}
        text = json.dumps([data, settings], sort_keys=True)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def pool(self) -> Settings:
        """Of the pool."""
        section = self.raw["pool"]
        # As for the data: their content is for the pool to look at.
        return {
            "set": self.name,
            "seed": self.config.seed,
            "cutoff": self.config.model.cutoff,
            "pool": {"structures": [], **_without_folders(section)},
        }

    @property
    def bases(self) -> Settings:
        """Of the first base as of all: those of one base are found again where there are two."""
        section = {key: value for key, value in self.raw["pretraining"].items() if key != "n_bases"}
        if "data" in section:
            section["data"] = {**section["data"], "path": Path(section["data"]["path"]).name}
        return {
            "set": self.name,
            "seed": self.config.seed,
            "model": self.raw.get("model", {}),
            "pretraining": section,
            "pool": self.pool if learns_from_pool(self.config) else None,
        }

    @property
    def teachers(self) -> Settings:
        """Of the teachers, or of the students that take their place."""
        if self.earlier is not None:
            return self.earlier.students
        raw, pretraining = self.raw, self.config.pretraining
        settings = {key: raw.get(key, {}) for key in ("seed", "model", "teachers")}
        if pretraining is not None:
            settings["bases"] = [pretraining.n_bases, self.bases]
        return {"set": self.name, **settings}

    @property
    def labels(self) -> Settings:
        """Of the labels."""
        settings = {
            "teachers": self.teachers,
            "n_teachers": self.variant.n_teachers,
            "labels": _without_folders(self.raw.get("labels", {})),
        }
        if self.labels_pool:
            settings["pool"] = self.pool
        return settings

    @property
    def students(self) -> Settings:
        """Of the students after all rounds."""
        if not self.has_rounds:
            return self.first_students
        return {"first": self.first_students, "on_policy": self.raw["student"]["on_policy"]}

    @property
    def first_students(self) -> Settings:
        """Of the students before any round, which are the same without rounds."""
        settings: Settings = {"set": self.name, "seed": self.config.seed, "learn": "energies"}
        section = self.raw.get("student", {})
        settings["student"] = {key: section[key] for key in section if key != "on_policy"}
        if self.config.pretraining is not None and self.config.student.from_base:
            settings["base"] = self.bases
        if self.variant.learn != "labels":  # these do not depend on teachers, but for the seed
            settings["seed"] += self.config.teachers.n_members
        if self.variant.training == "teachers":
            settings["training"] = self.raw.get("teachers", {}).get("training", {})
        if self.variant.learn == "forces":
            settings["learn"] = "forces"
        elif self.variant.learn == "labels":
            settings["learn"] = self.labels
        return settings

    @property
    def labels_pool(self) -> bool:
        """Whether geometries of the pool are labelled."""
        return self.config.pool is not None and self.config.labels.pool

    @property
    def has_rounds(self) -> bool:
        """Whether the students go on with frames of their own dynamics; teachers label those."""
        return self.variant.learn == "labels" and self.config.student.on_policy.n_rounds > 0

    @property
    def reference(self) -> PieceSettings:
        """The first variant of the study with the same teachers; tables name them after it.

        A variant that has none of its own, because its student learns energies or true forces, is
        compared with those of the first variant that has some.
        """
        if self.earlier is not None:
            return self.earlier.reference
        others = self._with_teachers
        if self.variant.learn != "labels":
            return others[0] if others else self
        own = self.teachers
        return next(other for other in others if other.teachers == own)

    @property
    def _with_teachers(self) -> list[PieceSettings]:
        """Variants of the study for this data set that train teachers, whatever their seeds."""
        return [
            self.of(variant)
            for variant in self.study.variants
            if variant.learn == "labels"
            and variant.generation_of is None
            and (variant.sets is None or self.name in variant.sets)
        ]

    @property
    def teachers_name(self) -> str:
        """What the column ``variant`` calls the teachers: all alike, or those of some variants."""
        reference = self.reference
        first = (reference._with_teachers or [reference])[0]
        if reference.variant.name == first.variant.name:
            return TEACHERS
        return f"{TEACHERS}, {reference.variant.name}"


def _without_folders(section: Settings) -> Settings:
    """A section of which files of structures have their names alone."""
    if "structures" not in section:
        return section
    return section | {"structures": [Path(path).name for path in section["structures"]]}
