"""What a study is: data sets, seeds, and variants of one configuration of ekd."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ekd.config import Config, Section, located, read_toml, validate_config
from ekd.errors import ConfigError, DataError

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "data"


class Variant(Section):
    """One row of the table: what the student is, and what it learns from."""

    name: str = Field(description="what tables call it")
    learn: Literal["labels", "energies", "forces"] = Field(
        "labels",
        description="'labels': energies and the teachers' forces; 'energies': those alone; "
        "'forces': energies and the true forces of the training file, where it has some",
    )
    n_teachers: int | None = Field(None, ge=1, description="the first so many are asked; None: all")
    generation_of: str | None = Field(
        None, description="variant whose students are the teachers; None: the trained teachers are"
    )
    without: list[str] = Field(
        [],
        description="sections or keys with dots, such as 'pretraining', that are left out: they "
        "take their defaults, or are none",
    )
    set: dict[str, Any] = Field({}, description="keys of ekd with dots, and their values")
    training: Literal["student", "teachers"] = Field(
        "student",
        description="whose section of that name says how it is trained; with 'teachers' for "
        "learn = 'energies' alone",
    )
    epochs_factor: float = Field(
        1.0, gt=0, description="times the epochs of the student: more where one is cheaper"
    )
    sets: list[str] | None = Field(None, description="data sets; None: all of the study")
    seeds: list[int] | None = Field(None, description="of the study; None: all")

    def is_for(self, name: str, seed: int) -> bool:
        """Whether there is such a row for a data set and a seed."""
        return (self.sets is None or name in self.sets) and (
            self.seeds is None or seed in self.seeds
        )


class Survival(Section):
    """Molecular dynamics of the models of one data set."""

    variants: list[str] = Field(description="whose students run, beside single teachers")
    n_teachers: int = Field(2, ge=1, description="single teachers that run")
    teachers_of: str | None = Field(
        None, description="variant whose teachers run; None: the first of variants"
    )
    molecules: list[str] = Field([], description="names that ase.build.molecule knows")
    first_of_test: bool = Field(False, description="start from the first test configuration too")
    settings: dict[str, Any] = Field({}, description="of ekd.StabilityConfig")


class Liquid(Section):
    """Boxes of liquid water by the models of one data set, in LAMMPS at 300 K."""

    variants: list[str] = Field(description="whose students run, beside single teachers")
    n_teachers: int = Field(2, ge=1, description="single teachers that run")
    teachers_of: str | None = Field(
        None, description="variant whose teachers run; None: the first of variants"
    )
    n_molecules: int = Field(64, ge=1, description="of a box")
    n_boxes: int = Field(4, ge=1, description="packed differently")
    duration: float = Field(2.0, gt=0, description="ps, the first quarter is equilibration")


class Study(Section):
    """A question, as variants that are trained and measured alike."""

    title: str
    sets: list[str] = Field(min_length=1, description="names of files in sets/")
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    set: dict[str, Any] = Field({}, description="for all variants; keys of ekd with dots")
    variants: list[Variant] = Field(min_length=1)
    slices: dict[str, dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]]] = Field(
        {},
        description="by data set: first and last row, not included, of parts of the test file that "
        "are measured apart, by their names",
    )
    survival: dict[str, Survival] = Field({}, description="by data set")
    liquid: dict[str, Liquid] = Field({}, description="by data set")

    def variant(self, name: str) -> Variant:
        """The variant of that name.

        Raises:
            ConfigError: there is none.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(f"'{variant.name}'" for variant in self.variants)
        raise ConfigError(f"there is no variant '{name}' in this study; it has {known}")


def load_study(path: Path) -> Study:
    """Read and check a study.

    Raises:
        ConfigError: it is missing, is no TOML, has unknown keys, variants of one name, or names
            sets or variants that do not exist.
    """
    try:
        study = Study(**read_toml(path))
        names = [variant.name for variant in study.variants]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two variants are called '{name}'; give them names of their own")
        for variant in study.variants:
            if variant.generation_of is not None:
                study.variant(variant.generation_of)
            if variant.training == "teachers" and variant.learn != "energies":
                raise ConfigError(
                    f"variant '{variant.name}' is trained as teachers are, who learn from energies "
                    f"alone, but has learn = '{variant.learn}'; remove one of the two"
                )
        asked: list[Survival | Liquid] = [*study.survival.values(), *study.liquid.values()]
        for models in asked:
            for name in models.variants:
                study.variant(name)
            if models.teachers_of is not None:
                study.variant(models.teachers_of)
        for name in (*study.sets, *study.slices, *study.survival, *study.liquid):
            if not set_file(name).exists():
                known = ", ".join(sorted(file.stem for file in set_file("").parent.glob("*.toml")))
                raise ConfigError(f"there is no data set '{name}' in sets/; known are {known}")
    except ConfigError as error:
        raise ConfigError(f"'{path}': {error}") from None
    return study


def set_file(name: str) -> Path:
    """The configuration of ekd that variants of a data set start from."""
    return HERE / "sets" / f"{name}.toml"


def resolve(
    study: Study, variant: Variant, name: str, seed: int, folder: Path | None
) -> tuple[dict[str, Any], Config]:
    """The configuration of a variant: as it is written, and checked with all defaults.

    Args:
        study: for what it sets for all variants.
        variant: for what it sets itself.
        name: of the data set.
        seed: of the study; it becomes that of the first teacher, a thousand apart.
        folder: of data that are not shipped.

    Raises:
        ConfigError: an unknown key, an impossible value, or one that is to be left out and is not
            there.
        DataError: a file of the data is nowhere.
    """
    source = f"variant '{variant.name}' of {name}"
    raw = copy.deepcopy(read_toml(set_file(name)))
    for key, value in study.set.items():
        _put(raw, key, value)
    for key in variant.without:
        _leave_out(raw, key, source)
    for key, value in variant.set.items():
        _put(raw, key, value)
    raw["seed"] = 1000 * seed
    for section in (
        raw["data"],
        raw.get("test"),
        raw.get("far"),
        raw.get("pretraining", {}).get("data"),
    ):
        if section is not None:
            section["path"] = str(find(section["path"], folder))
    for section in ("pool", "labels"):
        if structures := raw.get(section, {}).get("structures"):
            raw[section]["structures"] = [str(find(path, folder)) for path in structures]
    config = validate_config(raw, base=HERE, source=source)
    if variant.epochs_factor == 1:
        return raw, config
    # Sets may leave the epochs to the defaults, which depend on whether there is a base.
    _put(
        raw,
        "student.training.epochs",
        round(variant.epochs_factor * config.student.training.epochs),
    )
    return raw, validate_config(raw, base=HERE, source=source)


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        raw = raw.setdefault(section, {})
    raw[last] = value


def _leave_out(raw: dict[str, Any], key: str, source: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        raw = raw.get(section, {})
    if last not in raw:
        raise ConfigError(f"{source}: without = ['{key}'], which the data set does not have")
    del raw[last]


def find(name: str, folder: Path | None) -> Path:
    """A file of data: one that is shipped, or one in the folder of ``--data``.

    Raises:
        DataError: it is in neither.
    """
    folders = [SHIPPED, *([] if folder is None else [located(folder, Path.cwd())])]
    for place in folders:
        if (place / name).is_file():
            return place / name
    searched = " and ".join(f"'{place}'" for place in folders)
    raise DataError(
        f"'{name}' is not in {searched}; get it as examples/studies/README.md says, and name its "
        "folder with --data, or in EKD_STUDY_DATA"
    )
