# The few commands of this repository; `make help` lists them.

# The first that runs and is new enough; 3.11 first, since that is what CI runs.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  "$$name" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$name"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: bench test test-all perf lint help

bench: $(VENV)/.run ## make the environment and run the main job: ResNet50 at FP32, FP16 and INT8
	$(BIN)/bench ort --model resnet50 --precision fp32 --precision fp16 --precision int8

test: $(VENV)/.dev lint ## lint, types, and every test that is not heavy, with a quarter of the heavy ones, another each day
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --heavy-share 1/4

test-all: $(VENV)/.dev lint ## the same with every heavy test (full-size models; about ten minutes on 2 cores, 7 GB)
	$(BIN)/python -m pytest --heavy-share all

perf: $(VENV)/.dev ## benchmarks of the harness itself, as ratios measured side by side
	$(BIN)/python -m tests.performance

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Environments: a stamp file an extra set, so that `make` knows what is already installed.

$(VENV)/.made:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "aimatrix needs Python 3.11 or newer, found" \
	  "$$(python3 --version 2>&1 | head -n 1); install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.made
	$(INSTALL) --editable '.[cpu,data,export]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(INSTALL) --editable '.[cpu,data,export,openvino,trt-rtx,accuracy,dev]'
	@touch $@ $(VENV)/.run
