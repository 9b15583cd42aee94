"""Random changes of bytes, archives and JSON documents, reproducible by their seed."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SIZES = (0, 1, 2**7, 2**8, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
SIZES += (2**63, 2**64 - 1)


@dataclass(frozen=True)
class Mutation:
    """A changed file.

    Attributes:
        content: bytes of the file.
        how: short description of the change.
        forged: whether the checksums match the new content, so that a reader cannot detect the
            change. If such a file is accepted, it may differ from the original one.
    """

    content: bytes
    how: str
    forged: bool = False


# ------------------------------------------------------------------------------------------- bytes


def _span(content: bytes, rng: random.Random, most: int = 4096) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.randint(1, most))


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def zeroed(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def swapped(content: bytes, rng: random.Random) -> bytes:
    size = rng.randint(1, min(4096, max(1, len(content) // 2)))
    first, second = sorted(rng.randrange(len(content)) for _ in range(2))
    second = max(second, first + size)
    one, two = content[first : first + size], content[second : second + size]
    between = content[first + size : second]
    return content[:first] + two + between + one + content[second + size :]


def repeated(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:end] * rng.randint(1, 3) + content[end:]


def cut_out(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def noise(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng, 64)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def absurd_size(content: bytes, rng: random.Random) -> bytes:
    """Replace a small number that could be a size by an extreme one."""
    width = rng.choice((2, 4, 8, 8))
    changed = bytearray(content)
    for _ in range(200):
        at = rng.randrange(max(1, len(content) - width + 1))
        if 0 < int.from_bytes(content[at : at + width], "little") < 10**6:
            break
    value = rng.choice(SIZES) % 2 ** (8 * width)
    changed[at : at + width] = value.to_bytes(width, "little")
    return bytes(changed[: len(content)])


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    truncated,
    flipped,
    flipped,
    zeroed,
    swapped,
    repeated,
    cut_out,
    noise,
    absurd_size,
    absurd_size,
)


def of_bytes(content: bytes, rng: random.Random, forged: bool = False) -> Mutation:
    """Apply a random change of bytes; set `forged` for formats without checksums."""
    change = rng.choice(BYTES)
    return Mutation(change(content, rng), change.__name__, forged)


# ---------------------------------------------------------------------------------------- archives

Records = list[tuple[str, bytes]]


def records_of(content: bytes) -> Records:
    """Names, including the folder, and contents of the records of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]


def archive_of(records: Records, compressed: str | None = None) -> bytes:
    """Archive of the records, with correct checksums."""
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicate names
        with zipfile.ZipFile(target, "w") as archive:
            for name, content in records:
                entry = zipfile.ZipInfo(name)
                entry.filename = name  # ZipInfo changes names that look wrong
                if name == compressed:
                    entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    return target.getvalue()


def of_index(content: bytes, rng: random.Random) -> Mutation:
    """Set a field of a header of the archive to an absurd number."""
    fields = {
        b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
        b"PK\1\2": ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)),
        b"PK\5\6": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
        b"PK\6\6": ((4, 8), (24, 8), (32, 8), (40, 8), (48, 8)),
        b"PK\6\7": ((4, 4), (8, 8), (16, 4)),
    }
    places = []
    for magic in fields:
        at = content.find(magic)
        while at >= 0:
            places.append((at, magic))
            at = content.find(magic, at + 1)
    at, magic = rng.choice(places)
    offset, width = rng.choice(fields[magic])
    value = rng.choice((*SIZES, rng.randrange(2**16), rng.randrange(len(content))))
    changed = bytearray(content)
    changed[at + offset : at + offset + width] = (value % 2 ** (8 * width)).to_bytes(
        width, "little"
    )
    return Mutation(bytes(changed[: len(content)]), "a field of the index")


def of_archive(content: bytes, rng: random.Random, tail: str = "") -> Mutation:
    """Rename, duplicate, remove, add, compress, exchange or reorder records.

    The checksums are correct.

    Args:
        content: bytes of an archive.
        rng: random number generator.
        tail: how the name of the changed record ends.
    """
    records = records_of(content)
    names = [name for name, _ in records if name.endswith(tail)]
    name = rng.choice(names)
    folder, _, short = name.partition("/")
    place = [each for each, _ in records].index(name)
    kind = rng.choice(("rename", "rename", "double", "drop", "add", "pack", "exchange", "reorder"))
    if kind == "rename":
        other = rng.choice(
            (
                f"../../{short}",
                f"/etc/{short}",
                f"{folder}/../../{short}",
                f"{folder}/./{short}",
                f"{folder}\\{short}",
                f"elsewhere/{short}",
                short,
                f"{folder}//{short}",
                f"{folder}/{short}\0",
                f"{folder}/{short.upper()}",
                f"{folder}/" + "a" * 5000,
                "",
            )
        )
        records[place] = other, records[place][1]
    elif kind == "double":
        twin = rng.choice((records[place][1], flipped(records[place][1] or b"\0", rng), b""))
        records.insert(rng.choice((place, place + 1, len(records))), (name, twin))
    elif kind == "drop":
        del records[place]
    elif kind == "add":
        records.append((f"{folder}/{rng.choice(('extra/new', 'data/999', 'code/new.py'))}", b"new"))
    elif kind == "pack":
        return Mutation(archive_of(records, name), "pack")
    elif kind == "exchange":
        other_place = rng.randrange(len(records))
        one, two = records[place], records[other_place]
        records[place], records[other_place] = (one[0], two[1]), (two[0], one[1])
        return Mutation(archive_of(records), kind, forged=True)
    else:
        rng.shuffle(records)
    return Mutation(archive_of(records), kind, forged=kind == "drop")


def of_record(
    content: bytes,
    rng: random.Random,
    tail: str,
    change: Callable[[bytes, random.Random], bytes],
    how: str,
) -> Mutation:
    """Change a record, and update its checksum."""
    records = records_of(content)
    places = [k for k, (name, held) in enumerate(records) if name.endswith(tail) and held]
    place = rng.choice(places)
    name, held = records[place]
    records[place] = name, change(held, rng)
    return Mutation(archive_of(records), how, forged=True)


def of_torch_file(content: bytes, rng: random.Random, way: int) -> Mutation:
    """Change bytes (`way` < 3), the index, the records or the numbers of a file of torch."""
    if way < 3:
        return of_bytes(content, rng)
    if way == 3:
        return of_index(content, rng)
    if way == 4:
        return of_archive(content, rng)
    return of_record(content, rng, "", bad_numbers, "numbers")


def any_bytes(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(BYTES)(content, rng)


def bad_numbers(content: bytes, rng: random.Random) -> bytes:
    """Replace float64 or float32 numbers by NaN, infinities or extreme values."""
    code, width = rng.choice((("<d", 8), ("<f", 4)))
    if len(content) < width:
        return content + b"\0"
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 10))):
        at = width * rng.randrange(len(content) // width)
        value = rng.choice((float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 1e-40, 0.0))
        changed[at : at + width] = struct.pack(code, value)
    return bytes(changed)


# -------------------------------------------------------------------------------------------- JSON

_ODD = ("NaN", "Infinity", "-Infinity", "1e999", "1e-999", "1" * 5000, "1" * 400, "-0", '"\\ud800"')
_ODD += ("[" * 100 + "]" * 100, "[" * 100_000, '"\\u0000"', '{"a": 1, "a": 2}', "tru", '"')


def json_text(text: bytes, rng: random.Random) -> bytes:
    """Change a value or a key of a document."""
    document = json.loads(text)
    nodes = list(_nodes(document))
    parent, key = rng.choice(nodes)
    kind = rng.choice(("value", "value", "odd", "drop", "new key", "double", "grow"))
    if kind == "value":
        values: tuple[Any, ...] = (None, True, 0, -1, 1, 2**31, 2**63, 10**30, 1e300, 1e-300, 0.5)
        values += ("", "H", "x" * 1000, [], {}, [[]], [1], {"a": 1}, [0.0] * 3, "\x1b[2J")
        parent[key] = copy.deepcopy(rng.choice(values))
    elif kind == "odd":
        parent[key] = "@odd@"
        return json.dumps(document).replace('"@odd@"', rng.choice(_ODD)).encode()
    elif kind == "drop":
        del parent[key]
    elif kind == "new key" and isinstance(parent, dict):
        parent["".join(rng.choices("abz_. \x1b", k=rng.randint(0, 8)))] = rng.choice((1, "x", []))
    elif kind == "double" and isinstance(parent, dict):
        first = json.dumps({key: parent[key]})[1:-1]
        mark = parent["@double@"] = "@"
        return json.dumps(document).replace(f'"@double@": "{mark}"', first).encode()
    elif isinstance(parent, list):
        parent.extend(copy.deepcopy([parent[key]] * rng.choice((1, 3, 1000))))
    else:
        parent[key] = [parent[key]]
    return json.dumps(document).encode()


def _nodes(value: Any) -> Any:
    children: Any = ()
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for key, child in children:
        yield value, key
        yield from _nodes(child)
