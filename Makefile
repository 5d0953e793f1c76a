# Every target makes its own virtual environment and installs what it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-fast test-process test-soak check format lint types contracts bench bench-core bench-engine bench-relay bench-faults bench-pickers bench-placement bench-registry bench-shadow docs clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found: install Python 3.11 or newer, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## the main job on real connections, beside least connections and random (<= 4 minutes)
	$(BIN)/forestay demo

test: test-fast test-process  ## all tests

test-fast: $(STAMP)  ## unit, property and conformance tests
	$(BIN)/pytest -m 'not process and not soak' --cov --cov-report=term:skip-covered

test-process: $(STAMP)  ## tests on real processes and sockets
	$(BIN)/pytest -m 'process and not soak'

test-soak: $(STAMP)  ## long runs: 10,000 connections, restarts under load
	$(BIN)/pytest -m soak

check: format lint types contracts test  ## what CI runs

format: $(STAMP)
	$(BIN)/ruff format --check

lint: $(STAMP)
	$(BIN)/ruff check

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

bench: bench-shadow bench-core bench-pickers bench-registry bench-relay bench-faults  ## every figure of the docs

bench-core: $(STAMP)  ## place and tick
	$(BIN)/python -m benchmarks.core

bench-engine: $(STAMP)  ## what a run of the simulator costs
	$(BIN)/python -m benchmarks.engine

bench-relay: $(STAMP)  ## the relay beside HAProxy, nginx and Envoy
	@sh benchmarks/install_peers.sh $(BIN)/python
	$(BIN)/python -m benchmarks.relay

bench-faults: $(STAMP)  ## the relay under kill -9, 10,000 connections and restarts
	$(BIN)/python -m benchmarks.faults

bench-shadow: $(STAMP)  ## what a shadow estimates, against what really happens
	$(BIN)/python -m benchmarks.shadow

bench-pickers: $(STAMP)  ## eight workers that share a table, against the exact rule
	$(BIN)/python benchmarks/pickers.py

bench-placement: $(STAMP)  ## forestay, its peers and the causal limit on every scenario (hours; goes on where it stopped)
	$(BIN)/python -m benchmarks.placement

bench-registry: $(STAMP)  ## the registry over SQLite
	$(BIN)/python benchmarks/registry.py

docs: $(STAMP)  ## the site, in site/
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site
