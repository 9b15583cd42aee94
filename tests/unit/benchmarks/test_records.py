from __future__ import annotations

import json

import pytest

from suite.records import FIELDS, Record, compare, to_json


def test_ratio_is_how_many_times_the_peer() -> None:
    record = Record("md", 3000, 2, 30.0, "katom-step/s", "hippynn", 10.0)
    assert record.ratio == 3.0


@pytest.mark.parametrize(("peer", "value"), [("hippynn", None), (None, 1.0)])
def test_peer_and_value_belong_together(peer: str | None, value: float | None) -> None:
    with pytest.raises(ValueError, match="md: a peer and its value belong together"):
        Record("md", 3000, 2, 30.0, "katom-step/s", peer, value)


def test_compare_makes_a_record_for_each_peer() -> None:
    found = compare("nl", 192, 1, "Mpairs/s", 8.0, {"vesin": 4.0, "ASE": 0.5})
    assert [(record.peer, record.ratio) for record in found] == [("vesin", 2.0), ("ASE", 16.0)]


def test_compare_without_peers_keeps_the_number() -> None:
    (record,) = compare("nl", 192, 1, "Mpairs/s", 8.0, {}, "alone")
    assert (record.ekd, record.peer, record.ratio, record.note) == (8.0, None, None, "alone")


def test_json_has_the_fields_and_nulls() -> None:
    records = [
        Record("memory", 192, 1, 0.5, "GB", note="a note stays out"),
        Record("md", 192, 2, 3.0, "katom-step/s", "reaxff", 2.0),
    ]
    first, second = json.loads(to_json(records))
    assert tuple(first) == tuple(second) == FIELDS
    assert first["peer"] is first["peer_value"] is first["ratio"] is None
    assert second["ratio"] == 1.5
