"""The stages fit together: their order, what they need, what each of them owns."""

from __future__ import annotations

from ekd.config import Config
from ekd.pipeline.order import STAGES
from ekd.pipeline.stages import ALL


def test_names_are_those_of_the_programs() -> None:
    assert tuple(stage.name for stage in ALL) == STAGES


def test_needed_stages_come_first() -> None:
    for k, stage in enumerate(ALL):
        for needed in (*stage.needs, *stage.uses):
            assert needed in ALL[:k]


def test_every_section_belongs_to_a_stage() -> None:
    """A setting of a section that no stage reads could change without any result being redone."""
    read = {name for stage in ALL for name in stage.sections}
    others = {"output", "tensorboard"}
    assert set(Config.model_fields) == read | others


def test_outputs_belong_to_one_stage() -> None:
    names = [name for stage in ALL for name in (*stage.leaves, *stage.shows)]
    assert len(names) == len(set(names))
