# make run · demos · plan · up · down · promote · rollback · monitor · status · lineage · doctor · gc · test · test-all · mutate · check · bench
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
FLOWS := $(BIN)/python -m flows
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make run        the pipeline over the default runs; finds nothing to do when all is done"
	@echo "make run-all    the pipeline over every run of params.yaml"
	@echo "make demos      the offline studies: ResNet, PixelCNN, diffusion, MUNIT, StarGAN and StarGAN v2, StyleGAN2 (half an hour on two cores)"
	@echo "make plan       what make run would do, and why"
	@echo "make up         servers, schedules and scoring servers, in the background; make down ends them"
	@echo "make doctor     what killed processes left behind; FIX=1 repairs it"
	@echo "make gc         removes old checkpoints, unreferenced runs, unused cache; DRY=1 lists them, DAYS=14 is the age"
	@echo "make chaos      kills everything at random moments, KILLS=200 times; SEED=n for the same moments again"
	@echo "make promote    RUN=name: makes its candidate the champion, if it passes its gates; approve, reject, rollback: also VERSION=n"
	@echo "                all with COMMENT='why' BY=name STUDY=name; promote also with NO_COMPARE=1"
	@echo "make monitor    new images before the champion: drift or none; RUN=name FOLDER=images (default: monitor in params.yaml)"
	@echo "make status     what is champion, since when, on which data; make lineage RUN=name: where a version comes from"
	@echo "make test       the test suite; make test-all adds the slow tests"
	@echo "make mutate     plants faults in what differs from main and prints those that no test notices; FILES, TESTS, SEED, MINUTES=10"
	@echo "make check      ruff, mypy, import-linter, dvc.yaml against the imports, known vulnerabilities"
	@echo "make docs       docs/settings.md: every setting with its meaning, range and default"
	@echo "make bench      speed, as ratios measured in one run"
	@echo "make gpu-check  on a machine with a GPU: its tests, training steps, CIFAR-10 to 94 %"

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	@touch $@

.PHONY: run run-all demos plan docs test test-slow test-all mutate check bench
run: $(INSTALLED)
	@$(FLOWS) run

run-all: $(INSTALLED)
	@$(FLOWS) run --all

DEMOS := resnet-glyphs pixelcnn-digits diffusion-letters translate-letters stylegan2-glyphs
demos: $(INSTALLED)
	@for study in $(DEMOS); do $(FLOWS) run --study $$study || exit $$?; done

plan: $(INSTALLED)
	@$(FLOWS) plan

.PHONY: up down
up: $(INSTALLED)
	@$(FLOWS) up

down: $(INSTALLED)
	@$(FLOWS) down

# "$$RUN": what is given on make's command line stands in the environment, and no shell reads a comment as code.
.PHONY: promote approve reject rollback status lineage
WHO = $(if $(STUDY),--study "$$STUDY") $(if $(BY),--by "$$BY") $(if $(COMMENT),--comment "$$COMMENT")
promote: $(INSTALLED)
	@$(FLOWS) promote $(WHO) $(if $(filter 1 yes true,$(NO_COMPARE)),--no-compare) -- "$$RUN"

approve reject rollback: $(INSTALLED)
	@$(FLOWS) $@ $(WHO) -- "$$RUN" $(if $(VERSION),"$$VERSION")

status: $(INSTALLED)
	@$(FLOWS) status $(if $(STUDY),--study "$$STUDY")

lineage: $(INSTALLED)
	@$(FLOWS) lineage $(if $(STUDY),--study "$$STUDY") -- "$$RUN" $(if $(VERSION),"$$VERSION")

.PHONY: monitor
monitor: $(INSTALLED)
	@$(FLOWS) monitor $(if $(STUDY),--study "$$STUDY") $(if $(FOLDER),--folder "$$FOLDER") -- $(if $(RUN),"$$RUN")

.PHONY: doctor gc chaos
doctor: $(INSTALLED)
	@$(FLOWS) doctor $(if $(filter 1 yes true,$(FIX)),--fix)

gc: $(INSTALLED)
	@$(FLOWS) gc $(if $(filter-out 0 no false,$(DRY)),--dry-run) $(if $(DAYS),--older-than "$$DAYS")

export KILLS ?= 200
chaos: $(INSTALLED)
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=.:tests $(BIN)/python -m chaos --kills "$$KILLS" $(if $(SEED),--seed "$$SEED")

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -m "slow and not gpu"

test-all: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -m "not gpu"

MUTATING := .venv/mutating
$(MUTATING): $(INSTALLED) pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint requirements.lock cosmic-ray==8.7.0 coverage==7.17.5
	@touch $@

mutate: $(MUTATING)
	@PYTHONPATH=.:tests $(BIN)/python -m mutate $(FILES) $(if $(SEED),--seed "$$SEED") $(if $(MINUTES),--minutes "$$MINUTES") $(if $(TESTS),--tests $(TESTS))

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m components check > /dev/null
	$(FLOWS) graph --check
	$(FLOWS) docs --check
	$(BIN)/python -m pytest tests/test_graph.py
	$(BIN)/python tests/audit

docs: $(INSTALLED)
	@$(FLOWS) docs

bench: $(INSTALLED)
	@PYTHONPATH=. $(BIN)/python tests/bench

# No .venv is needed: a machine with a GPU may have its own torch, and no network.
.PHONY: gpu-check
gpu-check:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tests/gpu $(ARGS)
