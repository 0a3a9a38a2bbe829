# make run · run-all · plan · test · test-all · check · bench
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
RUN := $(BIN)/python -m flows
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make run        the pipeline over the default runs; finds nothing to do when all is done"
	@echo "make run-all    the pipeline over every run of params.yaml"
	@echo "make plan       what make run would do, and why"
	@echo "make test       the test suite; make test-all adds the slow tests"
	@echo "make check      ruff, mypy, import-linter, dvc.yaml against the imports"
	@echo "make bench      speed, as ratios measured in one run"

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	@touch $@

.PHONY: run run-all plan test test-all check bench
run: $(INSTALLED)
	@$(RUN) run

run-all: $(INSTALLED)
	@$(RUN) run --all

plan: $(INSTALLED)
	@$(RUN) plan

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-all: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not gpu"

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m components.settings > /dev/null
	$(BIN)/python -m pytest tests/test_graph.py

bench: $(INSTALLED)
	@PYTHONPATH=. $(BIN)/python tests/bench
