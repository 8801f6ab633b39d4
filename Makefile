# Needs python3 (3.11 or newer) and make; everything else goes into .venv. Each target installs what it runs, once.
#
# On Linux, PyPI's PyTorch brings CUDA with it, several GB. `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo`
# takes PyTorch's own build for CPUs, 190 MB.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiling every installed file at once takes longer than compiling at first import what is imported.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --no-compile -c constraints.txt
PYTEST := $(BIN)/python -m pytest -n auto
# Without bytecode every process of the tests would compile PyTorch's files anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all tiers test-oldest soak wheel docs lint format clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/.demo  ## train heron and local beside a first-order and a frozen client on real digits, two minutes
	@echo "Twelve runs of 50 rounds: four algorithms, three seeds. Then a table, a plot and a page."
	$(BIN)/heron compare digits --algorithms heron,local,cse_fsl,frozen --seeds 0,1,2 --set rounds=50

test: $(VENV)/.test  ## run the tests of a few minutes
	$(PYTEST)

test-all: $(VENV)/.dev  ## run all tests but those of `make soak`
	$(PYTEST) -m 'not soak'

tiers: $(VENV)/.dev  ## run all tests and write which of them are too slow for `make test`
	$(PYTEST) -m 'not soak' -p tests.stopwatch

test-oldest:  ## run a part of the tests on the oldest versions that pyproject.toml allows, in an environment of its own
	$(PYTHON) -m tests.installed.oldest

soak: $(VENV)/.dev  ## run the tests that start Flower's own processes, minutes each
	$(BIN)/python -m pytest -m soak

docs: $(VENV)/.docs  ## build the site: site/index.html
	$(BIN)/zensical build --strict

wheel:  ## build the wheel and try it with its base dependencies alone, on every Python that is here
	$(PYTHON) -m tests.installed.wheel $(PYTHONS)

lint: $(VENV)/.dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## apply the formatter and the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and caches
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: EXTRAS := plots
$(VENV)/.test: EXTRAS := test
$(VENV)/.docs: EXTRAS := docs
$(VENV)/.dev: EXTRAS := dev

$(VENV)/.demo $(VENV)/.test $(VENV)/.docs $(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing heron with its extra '$(EXTRAS)' into $(VENV); most of the download is PyTorch."
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $@
