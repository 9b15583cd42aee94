"""Prepare, load and train at the scale of ANI-1ccx: time and peak memory of each.

    python benchmarks/data_at_scale.py                       half a million configurations
    python benchmarks/data_at_scale.py --n-configs 20000     a quick look

Every row is a process of its own, so that its peak memory is its own. Epochs are of the default
teacher, on a part of the configurations (--n-epoch); the neighbour lists of the whole set must not
be in memory for that. Streamed and in memory they run in turns, in one process; the networks that
come out must be equal to the last bit, or the script stops.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

KEY = "ccsd(t)_cbs.energy"


def prepare(folder: Path, n_epoch: int) -> dict[str, Any]:
    """From the file of the release to the prepared one."""
    import ekd

    ekd.prepare_dataset(folder / "raw.h5", folder / "data.h5", energy=KEY)
    return {"note": f"{(folder / 'data.h5').stat().st_size / 1e6:.0f} MB on disk"}


def read_raw(folder: Path, n_epoch: int) -> dict[str, Any]:
    """Load the file of the release."""
    import ekd

    return {"note": f"{len(ekd.load_dataset(folder / 'raw.h5', energy=KEY)):,} configurations"}


def read(folder: Path, n_epoch: int) -> dict[str, Any]:
    """Load the prepared file into memory."""
    import ekd

    return {"note": f"{len(ekd.load_dataset(folder / 'data.h5')):,} configurations"}


def unpack(folder: Path, n_epoch: int) -> dict[str, Any]:
    """Stream the prepared file for the first time."""
    import ekd

    ekd.load_dataset(folder / "data.h5", stream=True)
    return {"note": f"{(folder / 'data.unpacked.h5').stat().st_size / 1e6:.0f} MB on disk"}


def map_arrays(folder: Path, n_epoch: int) -> dict[str, Any]:
    """Stream it once more."""
    import ekd

    ekd.load_dataset(folder / "data.h5", stream=True)
    return {"note": ""}


def train_in_memory(folder: Path, n_epoch: int) -> dict[str, Any]:
    """One epoch, everything in memory but the neighbour lists."""
    return _one_training(folder, n_epoch, stream=False)


def train_streamed(folder: Path, n_epoch: int) -> dict[str, Any]:
    """One epoch, the arrays on disk."""
    return _one_training(folder, n_epoch, stream=True)


def _one_training(folder: Path, n_epoch: int, stream: bool) -> dict[str, Any]:
    import ekd

    data = ekd.load_dataset(folder / "data.h5", stream=stream)
    seconds = _epoch(data, n_epoch)[0]
    return {"note": f"{n_epoch / seconds:,.0f} configurations/s of CPU time"}


def ratio(folder: Path, n_epoch: int) -> dict[str, Any]:
    """Epochs streamed and in memory, in turns; CPU time, which others on the machine spare."""
    import ekd

    datasets = [ekd.load_dataset(folder / "data.h5", stream=stream) for stream in (False, True)]
    seconds: list[list[float]] = [[], []]
    checksums = set()
    for _ in range(3):
        for data, times in zip(datasets, seconds, strict=True):
            cpu, checksum = _epoch(data, n_epoch)
            times.append(cpu)
            checksums.add(checksum)
    if len(checksums) != 1:
        raise SystemExit("streamed and in memory gave different networks")
    memory, streamed = (min(times) for times in seconds)
    return {"note": f"streamed / in memory = {streamed / memory:.3f}; networks equal bitwise"}


def _epoch(data: Any, n_epoch: int) -> tuple[float, str]:
    """CPU seconds of an epoch of the default teacher, and the checksum of the network."""
    from ekd.config import HIPNNConfig, TrainingConfig
    from ekd.data import fit_reference_energies
    from ekd.training import train

    n = min(n_epoch, len(data) * 9 // 10)
    order = np.random.default_rng(0).permutation(len(data))
    start = time.process_time()
    trained = train(
        data,
        model=HIPNNConfig(),
        training=TrainingConfig(epochs=1),
        train_indices=np.sort(order[:n]),
        validation_indices=np.sort(order[n : n + max(1, n // 10)]),
        reference_energies=fit_reference_energies(data, order[:n]),
        seed=0,
    )
    return time.process_time() - start, trained.sha256


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "prepare": prepare,
    "load the raw file": read_raw,
    "load the prepared file": read,
    "map it, first time": unpack,
    "map it": map_arrays,
    "epoch, in memory": train_in_memory,
    "epoch, streamed": train_streamed,
    "epochs in turns": ratio,
}


def run_step(name: str, folder: Path, n_epoch: int) -> None:
    """Do one step in this process, and print what it took as JSON."""
    wall = time.perf_counter()
    result = STEPS[name](folder, n_epoch)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result |= {
        "wall": time.perf_counter() - wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1024,
    }
    print(json.dumps(result))


def main() -> None:
    """Run every step in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-configs", type=int, default=500_000, help="(%(default)s)")
    parser.add_argument(
        "--n-epoch", type=int, default=50_000, help="trained on in an epoch (%(default)s)"
    )
    parser.add_argument("--folder", type=Path, help="keep the files there, and use what is there")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step, arguments.folder, arguments.n_epoch)
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="ekd-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        raw = folder / "raw.h5"
        if not raw.exists():
            script = str(Path(__file__).with_name("ani1ccx_like.py"))
            command = [sys.executable, script, str(raw), "--n-configs", str(arguments.n_configs)]
            subprocess.run(command, check=True)
        if "prepare" in arguments.steps:
            for name in ("data.h5", "data.unpacked.h5"):
                (folder / name).unlink(missing_ok=True)
        table = Table(title=f"{arguments.n_configs:,} configurations", title_justify="left")
        for heading in ("step", "wall s", "CPU s", "peak MB", ""):
            table.add_column(heading, justify="left" if heading in ("step", "") else "right")
        for name in arguments.steps:
            command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
            command += ["--n-epoch", str(arguments.n_epoch)]
            done = subprocess.run(
                command,
                check=False,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            if done.returncode != 0:
                raise SystemExit(f"step '{name}' failed")
            row = json.loads(done.stdout.splitlines()[-1])
            figures = (f"{row['wall']:.1f}", f"{row['cpu']:.1f}", f"{row['peak']:.0f}")
            table.add_row(name, *figures, row["note"])
    console = Console()
    Console(width=max(console.width, 110)).print(table)
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start")


if __name__ == "__main__":
    main()
