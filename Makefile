# A bare `make` explains what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help data reproduce calibrate book test check lab clean distclean

TRACK ?= controls
RQ    ?=
SEEDS ?=
JOBS  ?= 2
# `make data` fills the folder data where no other is named, and the paper's track is read there
DATA  ?= $(if $(filter paper,$(TRACK)),$(wildcard data))
ONLY  ?=
HAVE  ?=
VENV  ?= .venv
BIN   := $(VENV)/bin
READY := $(subst $() ,\ ,$(VENV))/.ready
LAB_FLAGS ?=

# The first that runs and is new enough; python3.11 is the tested one
PYTHON ?= $(shell for python in python3.11 python3; do \
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

help: ## what there is
	@echo "make TARGET [VARIABLE=VALUE]..."
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' Makefile
	@echo "Variables of data: TRACK=paper  DATA=folder (default: data)  ONLY=\"reviews metadata\"  HAVE=folder with files you have"
	@echo "Variables of reproduce: TRACK=controls|films|paper  RQ=1|2|3|motivation  SEEDS=\"1 2\"  JOBS=2  DATA=folder"

data: $(READY) ## fetch what TRACK=paper needs into DATA; says first how much, goes on where it stopped
	"$(BIN)/lmmrec" fetch --track "$(TRACK)" --data "$(or $(DATA),data)" --only $(ONLY) --from "$(HAVE)"

reproduce: $(READY) ## set up, run what is missing of TRACK, build the book
	"$(BIN)/lmmrec" reproduce --track "$(TRACK)" --rq "$(RQ)" --seeds $(SEEDS) --jobs "$(JOBS)" --data "$(DATA)"
	@$(MAKE) --no-print-directory book

book: $(READY) ## build the book from stored results; trains nothing
	"$(BIN)/lmmrec" book all --jobs "$(JOBS)"
	"$(BIN)/lmmrec" book build

calibrate: $(READY) ## measure how often the tests are right (hours); goes on where it stopped
	"$(BIN)/lmmrec" calibrate --jobs "$(JOBS)"

test: $(READY) ## all tests
	"$(BIN)/python" -m pytest -n 2 -rs tests

check: $(READY) ## style, types and the quick tests
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"
	"$(BIN)/python" -m pytest -n 2 -m "not slow and not browser" tests

lab: $(READY) ## JupyterLab on the notebooks
	"$(BIN)/jupyter" lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks \
	  --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_FLAGS)

clean: ## remove the rendered book and the executed notebooks; results stay
	rm -rf _build book/_generated

distclean: clean ## remove the environment and caches too; results stay
	rm -rf "$(VENV)" .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# Once per environment: the stamp is inside it and is touched last, so a broken set-up is taken up again.
# pip builds our package in an environment of its own, with the setuptools that pyproject.toml asks for.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --disable-pip-version-check --no-input -q -r requirements.txt
	"$(BIN)/python" -m pip install --disable-pip-version-check --no-input -q --no-deps --no-build-isolation -e .
	touch "$@"
