"""Runs stages of the pipeline and kills them repeatedly until they are complete.

    python kills.py CONFIG SEED N_KILLS OUTCOME [STAGE...]

Every attempt is a separate process, forked from this one, which has done the imports. Half of the
attempts are killed after a random time, the others at a random moment of writing a file: before or
after its bytes are synced to disk, before or after it is renamed. The caller compares the results
in ``STAGE-whole`` (never killed) and ``STAGE-killed``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

from ekd.config import Config, load_config
from ekd.pipeline import run_plots
from ekd.pipeline.record import Existing
from ekd.pipeline.runner import Pipeline
from ekd.reporting import style

STAGES = ("train", "label", "distill")


def attempt(config: Config, stage: str, moment: int | None = None) -> int:
    """Run a stage in a separate process, which may kill itself; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if moment is not None:
            kill_at(moment)
        Pipeline(config, Existing.RESUME, progress=False).run([stage])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kill_at(moment: int) -> None:
    """Kill this process before or after one of the calls that make a file durable."""
    count = 0

    def watched(call):  # type: ignore[no-untyped-def]
        def wrapper(*arguments):  # type: ignore[no-untyped-def]
            nonlocal count
            for step in (lambda: None, lambda: call(*arguments)):
                result = step()
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
            return result

        return wrapper

    os.fsync = watched(os.fsync)
    Path.replace = watched(Path.replace)  # type: ignore[method-assign]


def finish(pid: int) -> bool:
    """Wait for an attempt; return whether it was killed."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return True
    assert os.WEXITSTATUS(status) == 0, "an attempt has failed, see above"
    return False


def kill_stage(config: Config, stage: str, n_kills: int, chance: random.Random) -> dict[str, float]:
    """Run a stage with and without kills; results of earlier stages are in the output folder."""
    before = config.output

    def elsewhere(name: str) -> Config:
        target = before.with_name(f"{stage}-{name}")
        if before.exists():
            shutil.copytree(before, target)
        return config.model_copy(update={"output": target})

    whole, killed = elsewhere("whole"), elsewhere("killed")
    start = time.monotonic()
    assert not finish(attempt(whole, stage))
    seconds = time.monotonic() - start
    kinds = {"timer": 0, "file": 0}
    n_completed = 0
    while sum(kinds.values()) < n_kills:
        kind = min(kinds, key=lambda name: kinds[name])
        moment = chance.randrange(40) if kind == "file" else None
        pid = attempt(killed, stage, moment)
        if kind == "timer":
            time.sleep(chance.uniform(0.05, 0.7) * seconds)
            os.kill(pid, signal.SIGKILL)
        if finish(pid):
            kinds[kind] += 1
        else:  # complete before the kill: start again, because kills remain
            n_completed += 1
            shutil.rmtree(killed.output)
            elsewhere("killed")
    assert not finish(attempt(killed, stage))
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(whole.output, before)
    total = time.monotonic() - start
    return {**kinds, "completed": n_completed, "whole_seconds": seconds, "seconds": total}


def warm_up() -> None:
    """Do the initialization that every attempt would otherwise repeat."""
    torch.optim.Adam([torch.zeros(1)])
    history = {name: np.ones(1) for name in ("epoch", "energy_rmse", "validation_energy_rmse")}
    figure = run_plots.training_curves([{**history, "force_rmse": np.array([np.nan])}], "warm-up")
    style.save(figure, Path("warm-up.png"))


def main() -> None:
    warm_up()
    config = load_config(sys.argv[1])
    chance = random.Random(int(sys.argv[2]))
    stages = sys.argv[5:] or STAGES
    outcome = {stage: kill_stage(config, stage, int(sys.argv[3]), chance) for stage in stages}
    Path(sys.argv[4]).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
