"""Configurations."""

from __future__ import annotations

import random
import shutil
import tomllib
from pathlib import Path
from typing import Any

import mutations
from kind import ROOT, Kind, Wrong, digest
from mutations import Mutation


class TOML(Kind):
    """Configurations; no setting in a file may be ignored."""

    name, suffix = "toml", ".toml"

    def make(self, folder: Path) -> None:
        from ekd.config import load_config, write_config

        source = ROOT / "examples" / "quickstart.toml"
        shutil.copy(source, folder / "quickstart.toml")
        write_config(load_config(source), folder / "resolved.toml")

    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        if rng.random() < 0.4:
            return mutations.of_bytes(content, rng, forged=True)
        lines = content.decode().split("\n")
        settings = [k for k, line in enumerate(lines) if "=" in line and not line.startswith("#")]
        k = rng.choice(settings)
        key, _, value = lines[k].partition("=")
        kind = rng.choice(("value", "value", "value", "key", "double", "drop", "move", "section"))
        if kind == "value":
            odd = ("nan", "inf", "-inf", "1e999", "-1", "0", "1.5", "true", '""', '"x"', "[]", "{}")
            odd += ("1" * 5000, "99999999999999999999", "2020-01-01", "[[[1]]]", "[" * 3000, '"""')
            odd += (
                '"\\u0000"',
                '"../../../x"',
                '"\\ud800"',
                "{a = {b = {c = 1}}}",
                "[1, 'a']",
                "é",
            )
            odd += ("[" * 100 + "]" * 100, "0x7fffffffffffffff", "1_000", '"a\\nb"', value + value)
            lines[k] = f"{key}= {rng.choice(odd)}"
        elif kind == "key":
            new = "".join(rng.choices("abcxyz_.-\"' é", k=rng.randint(1, 9)))
            lines[k] = f"{rng.choice((new, key.strip() + 's', key.strip() + '.x'))} = {value}"
        elif kind == "double":
            lines.insert(rng.randrange(len(lines)), lines[k])
        elif kind == "drop":
            del lines[k]
        elif kind == "move":
            line = lines.pop(k)
            lines.insert(rng.randrange(len(lines)), line)
        else:
            names = ("[data]", "[[data]]", "[model.x]", "[]", "[a.b.c]", "[student]", "[[labels]]")
            lines.insert(rng.randrange(len(lines)), rng.choice((*names, "[" + "a." * 2000 + "a]")))
        return Mutation("\n".join(lines).encode("utf-8", "replace"), kind, forged=True)

    def read(self, path: Path) -> str:
        from ekd.config import load_config

        config = load_config(path)
        settings = config.model_dump(mode="json")
        _require_taken(tomllib.loads(path.read_text("utf-8")), settings, "")
        settings.pop("output")
        return digest(settings)


def _require_taken(written: Any, taken: Any, name: str) -> None:
    """Check that the configuration contains all settings of a file."""
    if isinstance(written, dict):
        for key, value in written.items():
            if not isinstance(taken, dict) or key not in taken:
                raise Wrong(f"'{name}{key}' is ignored")
            _require_taken(value, taken[key], f"{name}{key}.")
    elif isinstance(written, list):
        if not isinstance(taken, list) or len(written) != len(taken):
            raise Wrong(f"'{name}' is {taken}, written as {written}")
        for one, other in zip(written, taken, strict=True):
            _require_taken(one, other, name)
    elif isinstance(written, str) and isinstance(taken, str):
        if written != taken and Path(written).name not in taken:  # a path that was made absolute
            raise Wrong(f"'{name}' is {taken!r}, written as {written!r}")
    elif isinstance(taken, float) and type(written) is int:
        _require_taken(float(written), taken, name)
    elif written != taken or isinstance(written, bool) != isinstance(taken, bool):
        raise Wrong(f"'{name}' is {taken!r}, written as {written!r}")
