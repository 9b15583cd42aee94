"""Damages files of one kind and reads them one by one, with limits on time and memory.

    python worker.py KIND FOLDER START STOP

Writes two lines for each mutation to standard output: one when it begins, and one with its outcome.
The second line is missing if the mutation ends the process or takes too long.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

MEMORY = 2**30
"""Limit of the address space for mutations, in bytes beyond that in use before the first."""
SECONDS = 10
"""CPU time for one mutation, in s."""


def main() -> None:
    name, place, start, stop = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    faulthandler.enable()
    faulthandler.register(signal.SIGXCPU, chain=True)  # prints a traceback, then ends
    warnings.simplefilter("ignore")
    from kinds import KINDS

    kind = KINDS[name]()
    sound = sorted((place / "sound").iterdir())
    contents = [path.read_bytes() for path in sound]
    expected = [kind.read(path) for path in sound]
    target = place / f"damaged-{start}{kind.suffix}"
    for _ in range(2):  # imports and caches do not count for a mutation
        target.write_bytes(contents[0])
        kind.read(target)
    limit = _status("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for seed in range(start, stop):
        rng = random.Random(f"{name} {seed}")
        which = rng.randrange(len(sound))
        mutation = kind.mutate(contents[which], rng)
        target.unlink(missing_ok=True)
        target.write_bytes(mutation.content)
        _say("begin", seed, mutation.how)
        used = time.process_time()
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + SECONDS, most))
        before = _reset_peak()
        outcome, words = _outcome(kind, target, expected[which], mutation.forged)
        taken = _status("VmHWM") - before
        if outcome != "died" and taken > MEMORY // 2:
            outcome, words = "memory", f"{taken >> 20} MiB ({outcome}: {words})"
        _say("end", seed, outcome, words, time.process_time() - used, taken)
    target.unlink(missing_ok=True)


def _outcome(kind, path, expected, forged):  # type: ignore[no-untyped-def]
    from kind import Wrong

    from ekd.errors import EKDError

    try:
        found = kind.read(path)
    except EKDError as error:
        return _judged(str(error), path)
    except Wrong as error:
        return "wrong", str(error)
    except BaseException:
        return "exception", traceback.format_exc(limit=-6)
    if found == expected:
        return "equal", ""
    return ("other", "") if forged else ("changed", "it reads as another file")


def _judged(words: str, path: Path) -> tuple[str, str]:
    """Check that an error names the file, and that any terminal can show its message."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return "words", f"cannot be shown: {words!r}"
    if path.name not in words:
        return "words", f"does not name the file: {words}"
    if "\x1b" in words or "\0" in words:
        return "words", f"holds control characters: {words!r}"
    return "rejected", words


def _say(*what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _status(key: str) -> int:
    """An entry of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def _reset_peak() -> int:
    """Reset the peak memory of the process; returns its current memory, in bytes."""
    if time.process_time() - _reset_peak.collected > 1.0:  # type: ignore[attr-defined]
        gc.collect()
        _reset_peak.collected = time.process_time()  # type: ignore[attr-defined]
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


_reset_peak.collected = 0.0  # type: ignore[attr-defined]

if __name__ == "__main__":
    main()
