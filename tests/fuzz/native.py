"""Fuzzes the C++ readers with the programs in tests/cpp/fuzz, which use sanitizers.

With clang, libFuzzer searches for inputs that reach new code; without clang, the inputs are random
changes of valid files.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "cpp" / "fuzz"
MODEL = ROOT / "python" / "ekd" / "lammps" / "smoke_test.pt"
TARGETS = {"c++ archive": "archive", "c++ json": "json", "c++ weights": "weights"}
TARGETS |= {"c interface": "model"}
_LINE = b"\n---\n"
_lock = threading.Lock()


def fuzz(result: Any, given: argparse.Namespace, advance: Callable[[], object]) -> None:
    """Run a target; each input that does not end it counts as read or refused."""
    program = build(given.native_library) / f"fuzz_{TARGETS[result.name]}"
    is_lib_fuzzer = b"LLVMFuzzerRunDriver" in program.read_bytes()
    with tempfile.TemporaryDirectory(prefix="ekd-fuzz-") as name:
        folder = Path(name)
        corpus = make_corpus(TARGETS[result.name], folder / "corpus")
        limits = ["-rss_limit_mb=2048", "-timeout=60", "-print_final_stats=1", "-max_len=65536"]
        command: list[str] = [str(program)]
        if is_lib_fuzzer:
            command += [f"-runs={given.mutations}", f"-seed={given.seed + 1}", *limits, str(corpus)]
        else:
            command += [str(given.mutations), str(given.seed), *map(str, sorted(corpus.iterdir()))]
        # LeakSanitizer traces the process, which some containers do not allow.
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        begin = os.times()
        found = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        end = os.times()
        words = found.stdout + found.stderr
        if found.returncode == 0:
            for _ in range(given.mutations):
                result.counts["read or refused"] += 1
                advance()
            seconds = re.search(r"slowest_unit_time_sec: *(\d+)", words)
            used = end.children_user - begin.children_user
            result.seconds = float(seconds[1]) if seconds else used / given.mutations
            peak = re.search(r"peak_rss_mb: *(\d+)", words)
            result.memory = int(peak[1]) << 20 if peak else 0
            return
        result.findings.append(f"ended with {found.returncode}: {words[-4000:]}")
        given.failures.mkdir(parents=True, exist_ok=True)
        kept = [path for path in folder.iterdir() if path.is_file()]
        for path in kept:
            shutil.copy(path, given.failures / f"{TARGETS[result.name]}-{path.name}")


def build(library: Path | None) -> Path:
    """Compile the targets if necessary; returns their folder."""
    with _lock:
        compiler = None if library else shutil.which("clang++")
        folder = ROOT / "build" / ("fuzz-clang" if compiler else "fuzz")
        tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": tools}
        options = [f"-DCMAKE_CXX_COMPILER={compiler}"] if compiler else []
        options += [f"-DEKD_FUZZ_LIBRARY={library}"] if library else []
        for command in (
            ["cmake", "-S", SOURCE, "-B", folder, *options],
            ["cmake", "--build", folder, "--parallel", "2"],
        ):
            found = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            if found.returncode != 0:
                raise RuntimeError(found.stdout[-3000:] + found.stderr[-3000:])
        return folder


def make_corpus(target: str, folder: Path) -> Path:
    """Write valid inputs of a target; returns their folder."""
    folder.mkdir(parents=True)
    content = MODEL.read_bytes()
    records = {name.partition("/")[2]: held for name, held in mutations.records_of(content)}
    metadata, weights = records["extra/ekd_metadata.json"], records["extra/ekd_weights.json"]
    numbers = records["extra/ekd_weights.bin"]
    if target == "json":
        inputs = {
            "metadata": metadata,
            "weights": weights,
            "small": b'{"a": [1, -2.5e3, "\\u00e9"]}',
        }
    elif target == "weights":
        inputs = {"all": metadata + _LINE + weights + _LINE + numbers}
    else:
        # Several files, because the targets correct checksums only if the length is even.
        small = [(name, held) for name, held in mutations.records_of(content) if "extra/" in name]
        short = mutations.archive_of(small)
        inputs = {"model": content, "short": short, "shorter": mutations.archive_of(small[:2])}
    for name, held in inputs.items():
        (folder / name).write_bytes(held)
    return folder
