# A bare `make` explains what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup data reproduce rehearsal calibrate book test check lab clean distclean

TRACK ?= controls
RQ    ?=
SEEDS ?=
JOBS  ?= 2
ENGINE ?=
SLURM ?=
# `make data` fills the folder data where no other is named, and the paper's track is read there
DATA  ?= $(if $(filter paper,$(TRACK)),$(wildcard data))
ONLY  ?=
HAVE  ?=
VENV  ?= .venv
BIN   := $(VENV)/bin
READY := $(subst $() ,\ ,$(VENV))/.ready
LAB_FLAGS ?=
MINUTES ?=
# The build of PyTorch, chosen once: what was chosen stays with the environment
TORCH ?= $(shell cat "$(VENV)/.torch" 2>/dev/null)
TORCH_PINS := $(shell sed -n -E 's/^(torch|torchvision)==([^ ;]+).*/\1==\2/p' requirements.txt)
TORCH_FROM := --index-url https://download.pytorch.org/whl/$(TORCH)
TORCH_KNOWN = echo "$(TORCH)" | grep -qxE "(cpu|cu[0-9]+|rocm[0-9.]+|xpu)?" || \
  { echo "TORCH=$(TORCH): write cpu, or cu126 for CUDA 12.6"; exit 1; }
PIP := "$(BIN)/python" -m pip install --disable-pip-version-check --no-input -q

# The first that runs and is new enough; python3.11 is the tested one
PYTHON ?= $(shell for python in python3.11 python3; do \
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

help: ## what there is
	@echo "make TARGET [VARIABLE=VALUE]..."
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' Makefile
	@echo "Variables of data: TRACK=paper  DATA=folder (default: data)  ONLY=\"reviews metadata\"  HAVE=folder with files you have"
	@echo "Variables of setup: TORCH=cu126|cpu (any build of download.pytorch.org/whl); of rehearsal: TRACK=paper  MINUTES=60"
	@echo "Variables of reproduce: TRACK=controls|films|paper  RQ=1|2|3|motivation  SEEDS=\"1 2\"  JOBS=2  DATA=folder"
	@echo "Variables of reproduce on a cluster: ENGINE=slurm  JOBS=16  SLURM=\"partition=gpu time=12:00:00\""

setup: $(READY) ## set up the environment and no more; TORCH=cu126 (a GPU) or cpu chooses the build of PyTorch
	@$(TORCH_KNOWN)
	@if [ -n "$(TORCH)" ] && ! grep -qsx -- "$(TORCH)" "$(VENV)/.torch"; then set -x; \
	  $(PIP) --force-reinstall --no-deps $(TORCH_PINS) $(TORCH_FROM); $(PIP) $(TORCH_PINS) $(TORCH_FROM); \
	  echo "$(TORCH)" > "$(VENV)/.torch"; fi

data: $(READY) ## fetch what TRACK=paper needs into DATA; says first how much, goes on where it stopped
	"$(BIN)/lmmrec" fetch --track "$(TRACK)" --data "$(or $(DATA),data)" --only $(ONLY) --from "$(HAVE)"

reproduce: $(READY) ## set up, run what is missing of TRACK, build the book
	"$(BIN)/lmmrec" reproduce --track "$(TRACK)" --rq "$(RQ)" --seeds $(SEEDS) --jobs "$(JOBS)" --data "$(DATA)" \
	  $(if $(ENGINE)$(SLURM),--engine "$(or $(ENGINE),processes)" --slurm $(SLURM))
	@$(MAKE) --no-print-directory book

book: $(READY) ## build the book from stored results; trains nothing
	"$(BIN)/lmmrec" book all --jobs "$(JOBS)"
	"$(BIN)/lmmrec" book build

rehearsal: $(READY) ## run the size of TRACK=paper on made-up content, and record seconds and memory; goes on where it stopped
	"$(BIN)/python" benchmarks/rehearse_track.py --track "$(TRACK)" --minutes "$(MINUTES)"

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
# Our package is built with the setuptools of requirements.txt, which is in the environment: that asks no network.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(TORCH_KNOWN)
	test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	$(if $(TORCH),$(PIP) $(TORCH_PINS) $(TORCH_FROM))
	@echo "The packages of requirements.txt come now: minutes without a word, and gigabytes (most of them PyTorch)"
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@$(if $(TORCH),echo "$(TORCH)" > "$(VENV)/.torch",true)
	touch "$@"
