"""After kill -9 at any moment, the same call writes the same file and leaves no other files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# Runs in a separate process without threads, which forks a child process for every attempt. It
# commits after every block of a few configurations, so that there are many moments to kill it.
SCRIPT = """
import json, os, random, signal, sys, time
from pathlib import Path
from ekd.data import prepared
from ekd.data.readers import source
from ekd.preparation import data_plot, prepare_dataset, staging

raw, folder, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
staging.SECONDS_PER_COMMIT = 0.0
source.ATOMS_PER_BLOCK = 400
data_plot.draw = lambda *arguments: arguments[-1].write_bytes(b"no picture")  # it takes a second
rng = random.Random(seed)
fsync = os.fsync


def attempt(output, syncs=None, seconds=None):
    "Prepare in a child that is killed before its n-th fsync, or after a time; None: to its end."
    child = os.fork()
    if child == 0:
        left = [syncs]

        def counted(descriptor):
            if left[0] is not None:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
            fsync(descriptor)

        os.fsync = counted
        try:
            options = {"drop_duplicates": True, "drop_outliers": True, "progress": False}
            prepare_dataset(raw, output, "ccsd(t)_ccpvdz.energy", **options)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "done" if os.WEXITSTATUS(status) == 0 else "failed"


start = time.perf_counter()
assert attempt(folder / "whole.h5") == "done"
duration = time.perf_counter() - start
kills = {"by_sync": 0, "by_time": 0}
# Few fsyncs at first, so that reading is hit as well, then more, so that it comes to an end.
for reach in range(2, 200):
    outcome = attempt(folder / "by_sync.h5", syncs=rng.randrange(8 * reach))
    if outcome != "killed":
        break
    kills["by_sync"] += 1
assert outcome == "done", outcome
# The first run may have been slow for reasons of its own (a cold disk), so a run that ended before
# its kill shortens the times that follow.
longest = 0.9 * duration
while kills["by_time"] < 5:
    if attempt(folder / "by_time.h5", seconds=rng.uniform(0, longest)) == "killed":
        kills["by_time"] += 1
    else:
        longest *= 0.8
        (folder / "by_time.h5").unlink()
assert attempt(folder / "by_time.h5") == "done"
# After the end: it is complete, and a kill finds nothing to spoil.
attempt(folder / "by_time.h5", syncs=0)
headers = {path.stem: vars(prepared.read_header(path)) for path in sorted(folder.glob("*.h5"))}
print(json.dumps({"kills": kills, "headers": headers, "files": sorted(os.listdir(folder))}))
"""


def test_kills(training_file: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(training_file), str(tmp_path), "0"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"]["by_sync"] >= 5
    assert result["kills"]["by_time"] == 5
    headers = result["headers"]
    assert headers["by_sync"] == headers["whole"]
    assert headers["by_time"] == headers["whole"]
    names = ("by_sync", "by_time", "whole")
    assert result["files"] == [f"{name}.{suffix}" for name in names for suffix in ("h5", "png")]
