"""A training shared by two processes, one of which is killed or ended by a signal."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

CONFIG = """
output = "run"
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
[model]
n_features = 4
n_sensitivities = 4
n_atom_layers = 1
cutoff = 4.0
soft_max = 3.5
[teachers]
n_members = 2
[teachers.training]
epochs = 5000
batch_size = 2
early_stopping = 5000
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_training_file: Path) -> Path:
    shutil.copy(tiny_training_file, tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def start(folder: Path) -> list[subprocess.Popen[str]]:
    """Start two processes as torchrun does. torchrun itself would end the second process too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "COLUMNS": "400",
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-m", "ekd", "train", "config.toml", "--resume", "--quiet"]
    return [
        subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]


def wait_for(path: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Wait until a file written by these processes exists."""
    deadline = time.monotonic() + 240
    while not path.exists():
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_of_two_ends(folder: Path) -> None:
    checkpoint = folder / "run" / "teachers" / "member-0" / "checkpoint.pt"
    processes = start(folder)
    wait_for(checkpoint, processes)
    # After a signal, both agree on the step, the first process writes a checkpoint, and both end.
    processes[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], outputs
    assert "interrupted by SIGTERM; --resume continues from here" in outputs[0]
    stored = torch.load(checkpoint, weights_only=True)
    n_epochs = len(stored["history"])
    assert stored["state"]["epoch"] is None or stored["state"]["epoch"]["n_steps"] > 0
    # If one is killed, the other one ends with one clear error, and its checkpoint is kept.
    checkpoint_before = checkpoint.stat().st_mtime_ns
    processes = start(folder)
    deadline = time.monotonic() + 240
    while checkpoint.stat().st_mtime_ns == checkpoint_before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes[1].kill()
    output = processes[0].communicate(timeout=60)[0]
    processes[1].communicate()
    assert processes[0].returncode == 1, output
    assert "another process of this training has ended, or does not respond" in output
    assert "start the same command again with --resume [EKD-TRAINING-004]" in output
    assert "Traceback" not in output
    assert len(torch.load(checkpoint, weights_only=True)["history"]) > n_epochs
