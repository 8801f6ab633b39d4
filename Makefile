# Needs python3 (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test soak docs lint format clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/.installed  ## train heron beside a first-order and a frozen client on real digits
	$(BIN)/heron compare digits --algorithms heron,cse_fsl,frozen --seeds 0,1,2,3,4

test: $(VENV)/.installed  ## run the tests
	$(BIN)/python -m pytest -n auto

soak: $(VENV)/.installed  ## run the tests that start Flower's own processes, minutes each
	$(BIN)/python -m pytest -m soak

docs: $(VENV)/.installed  ## build the site: site/index.html
	$(BIN)/zensical build --strict

lint: $(VENV)/.installed  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed  ## apply the formatter and the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
