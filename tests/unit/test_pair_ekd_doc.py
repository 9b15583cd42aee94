"""docs/pair_ekd.md quotes actual messages of pair_style ekd."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_errors_are_quoted_word_for_word() -> None:
    page = (ROOT / "docs" / "pair_ekd.md").read_text()
    table = page.split("## Errors")[1].split("## Related")[0]
    quoted = [
        message
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for message in re.findall(r"`(.+?)`", row)
    ]
    assert len(quoted) > 15
    sources = [*ROOT.glob("lammps_plugin/*.cpp"), *ROOT.glob("cpp/src/**/*.cpp")]
    code = "\n".join(source.read_text() for source in sources)
    code = re.sub(r'"\s*(<<)?\s*"', "", code)  # C++ joins adjacent literals
    for message in quoted:
        assert message in code, message
