"""Consistency of the stages: order, requirements and outputs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ekd.config import Config
from ekd.pipeline import bases
from ekd.pipeline.order import STAGES
from ekd.pipeline.stages import ALL
from ekd.pipeline.stages.pretrain_bases import ONE_BASE, PRETRAIN


def test_names_are_those_of_the_programs() -> None:
    assert tuple(stage.name for stage in ALL) == STAGES


def test_needed_stages_come_first() -> None:
    for k, stage in enumerate(ALL):
        for needed in (*stage.needs, *stage.uses):
            assert needed in ALL[:k]


def test_every_section_belongs_to_a_stage() -> None:
    """A setting that no stage reads could change without recomputing results."""
    read = {name for stage in ALL for name in stage.sections}
    others = {"output", "tensorboard", "vector_plots"}
    assert set(Config.model_fields) == read | others


def test_outputs_belong_to_one_stage() -> None:
    names = [name for stage in ALL for name in (*stage.leaves, *stage.shows)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("n_bases", "n_members", "is_noted"), [(1, 2, True), (2, 2, False)])
def test_one_base_for_several_teachers_is_noted(
    monkeypatch: pytest.MonkeyPatch, n_bases: int, n_members: int, is_noted: bool
) -> None:
    printed: list[str] = []
    work: Any = SimpleNamespace(
        config=SimpleNamespace(teachers=SimpleNamespace(n_members=n_members)),
        console=SimpleNamespace(print=lambda text, **_: printed.append(text)),
        folder=Path(),
        writes=False,
        **dict.fromkeys(("data", "base_data", "progress", "group")),
    )
    trained = SimpleNamespace(members=[object()] * n_bases)
    monkeypatch.setattr(bases, "train_bases", lambda *_: trained)
    PRETRAIN.run(work)
    assert printed == [ONE_BASE] * is_noted
