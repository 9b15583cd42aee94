"""Prepare, load and train at the scale of ANI-1ccx: time and peak memory of each.

    python benchmarks/data_at_scale.py                       half a million configurations
    python benchmarks/data_at_scale.py --n-configs 20000     a quick look

Every row is a process of its own, so that its peak memory is its own; where it has worker
processes, that of the largest. Epochs are of the default teacher, on a part of the configurations
(--n-epoch), with a validation on a tenth as many. In memory and streamed, neighbour lists are made
for each gather anew, unless those of the whole set fit into what training keeps; in the row "lists
kept" they are all kept, whatever it takes. In the row "epochs in turns" both kinds run in one
process, the file out of the memory of the operating system before each streamed epoch, and must
give networks equal to the last bit.

Labels are those of --n-teachers networks for --n-labels configurations. They are not trained: the
time does not depend on the weights.
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


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """From the file of the release to the prepared one."""
    import ekd

    ekd.prepare_dataset(folder / "raw.h5", folder / "data.h5", energy=KEY)
    return {"note": f"{(folder / 'data.h5').stat().st_size / 1e6:.0f} MB on disk"}


def label(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Labels of some networks for a part of the configurations, on all cores."""
    import torch

    import ekd
    from ekd.config import HIPNNConfig, TrainingConfig
    from ekd.data import fit_reference_energies
    from ekd.models import HIPNN
    from ekd.training import Ensemble, TrainedModel

    config = HIPNNConfig(l_max=1, n_features=32, n_sensitivities=16)
    data = ekd.load_dataset(folder / "data.h5", stream=True)
    energies = fit_reference_energies(data)
    members = []
    for seed in range(options.n_teachers):
        torch.manual_seed(seed)
        network = HIPNN(config, list(energies), list(energies.values()))
        members.append(TrainedModel(network, config, TrainingConfig(epochs=1), {}, []))
    chosen = np.sort(np.random.default_rng(0).permutation(len(data))[: options.n_labels])
    part = data.subset(chosen)
    start = time.perf_counter()
    ekd.label(Ensemble(members), part, folder / "labels.h5")
    seconds = time.perf_counter() - start
    by = f"by {options.n_teachers} teachers in {seconds:.1f} s"
    return {"note": f"{len(part):,} {by}: {len(part) / seconds:,.0f} configs/s"}


def read_raw(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Load the file of the release."""
    import ekd

    return {"note": f"{len(ekd.load_dataset(folder / 'raw.h5', energy=KEY)):,} configurations"}


def read(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Load the prepared file into memory."""
    import ekd

    return {"note": f"{len(ekd.load_dataset(folder / 'data.h5')):,} configurations"}


def unpack(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Stream the prepared file for the first time."""
    import ekd

    ekd.load_dataset(folder / "data.h5", stream=True)
    return {"note": f"{(folder / 'data.unpacked.h5').stat().st_size / 1e6:.0f} MB on disk"}


def map_arrays(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Stream it once more."""
    import ekd

    ekd.load_dataset(folder / "data.h5", stream=True)
    return {"note": ""}


def train_in_memory(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One epoch, everything in memory but the neighbour lists."""
    return _one_training(folder, options, stream=False)


def train_streamed(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One epoch, the arrays on disk."""
    return _one_training(folder, options, stream=True)


def train_kept(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One epoch, everything in memory, and the neighbour lists of all configurations too."""
    return _one_training(folder, options, stream=False, kept_bytes=2**40)


def _one_training(
    folder: Path, options: argparse.Namespace, stream: bool, kept_bytes: int | None = None
) -> dict[str, Any]:
    import ekd

    data = ekd.load_dataset(folder / "data.h5", stream=stream)
    n = min(options.n_epoch, len(data) * 9 // 10)
    seconds = _epoch(data, n, kept_bytes)[0]
    return {"note": f"{n:,} configurations in {seconds:.1f} s: {n / seconds:,.0f} configs/s"}


def ratio(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Epochs streamed and in memory, in turns; the least of three of each."""
    import ekd

    ekd.load_dataset(folder / "data.h5", stream=True)  # so that it is unpacked
    in_memory = ekd.load_dataset(folder / "data.h5", stream=False)
    n = min(options.n_epoch, len(in_memory) * 9 // 10)
    seconds: list[list[tuple[float, float]]] = [[], []]
    checksums = set()
    for _ in range(3):
        for stream, times in zip((False, True), seconds, strict=True):
            data = in_memory
            if stream:
                _forget(folder / "data.unpacked.h5")
                data = ekd.load_dataset(folder / "data.h5", stream=True)
            wall, cpu, checksum = _epoch(data, n)
            del data
            times.append((wall, cpu))
            checksums.add(checksum)
    if len(checksums) != 1:
        raise SystemExit("streamed and in memory gave different networks")
    memory, streamed = (np.min(times, axis=0) for times in seconds)
    wall, cpu = streamed / memory
    return {"note": f"streamed / in memory: wall {wall:.3f}, CPU {cpu:.3f}; networks equal bitwise"}


def _forget(path: Path) -> None:
    """Have the operating system drop a file from memory, so that it is read from disk again."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _epoch(data: Any, n: int, kept_bytes: int | None = None) -> tuple[float, float, str]:
    """Wall and CPU seconds of an epoch of the default teacher, and the checksum of the network."""
    from ekd.config import HIPNNConfig, TrainingConfig
    from ekd.data import fit_reference_energies
    from ekd.training import batches, train

    if kept_bytes is not None:
        batches._KEPT_BYTES = kept_bytes
    order = np.random.default_rng(0).permutation(len(data))
    reference_energies = fit_reference_energies(data, order[:n])
    wall, cpu = time.perf_counter(), time.process_time()
    trained = train(
        data,
        model=HIPNNConfig(l_max=1, n_features=32, n_sensitivities=16),
        training=TrainingConfig(epochs=1),
        train_indices=np.sort(order[:n]),
        validation_indices=np.sort(order[n : n + max(1, n // 10)]),
        reference_energies=reference_energies,
        seed=0,
    )
    return time.perf_counter() - wall, time.process_time() - cpu, trained.sha256


STEPS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "prepare": prepare,
    "load the raw file": read_raw,
    "load the prepared file": read,
    "map it, first time": unpack,
    "map it": map_arrays,
    "epoch, in memory": train_in_memory,
    "epoch, streamed": train_streamed,
    "epoch, lists kept": train_kept,
    "epochs in turns": ratio,
    "labels": label,
}


def run_step(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Do one step in this process, and print what it took as JSON."""
    wall = time.perf_counter()
    result = STEPS[name](folder, options)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result |= {
        "wall": time.perf_counter() - wall,
        "cpu": sum(usage.ru_utime + usage.ru_stime for usage in usages),
        "peak": max(usage.ru_maxrss for usage in usages) / 1024,
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
    parser.add_argument("--n-labels", type=int, default=10_000, help="labelled (%(default)s)")
    parser.add_argument("--n-teachers", type=int, default=8, help="by so many (%(default)s)")
    parser.add_argument("--folder", type=Path, help="keep the files there, and use what is there")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step, arguments.folder, arguments)
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
            for option in ("n_epoch", "n_labels", "n_teachers"):
                command += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
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
    Console(width=max(console.width, 130)).print(table)
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start")


if __name__ == "__main__":
    main()
