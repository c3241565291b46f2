# make repro runs the pipeline, make test proves it; each sets up .venv where it is missing.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env repro mnist test lint format bench umap lock clean-env

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## Set up .venv with the pinned dependencies

# pip installs uv alone, by the hashes in requirements.txt; uv installs the rest in a fraction of pip's time.
# The .pth file puts .venv/bin first on PATH whenever .venv's Python starts, so that `.venv/bin/dvc repro` runs
# its stages, and its queue workers, in .venv though nobody activated it.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@rm -f $(READY)
	$(PYTHON) -m venv .venv
	@awk '/^[^ ]/ {wanted = /^uv==/} wanted' requirements.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "stages_path.pth").write_text("import os, sys; os.environ[\"PATH\"] = os.pathsep.join([os.path.join(sys.prefix, \"bin\"), os.environ.get(\"PATH\", os.defpath)])\n")'
	@touch $(READY)

repro: $(READY) ## Run the pipeline: what changed since the last run, of the five stages
	$(BIN)/dvc repro

mnist: $(READY) ## Run the pipeline on MNIST, as an experiment named mnist
	$(BIN)/dvc exp run --name mnist --force -S prepare.dataset=mnist -S prepare.validation_fraction=0

test: lint ## Run every check: format, lint, types, tests
	$(BIN)/python -m pytest

lint: $(READY) ## Check format, style and types alone
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(READY) ## Measure speed and memory: a table, and benchmarks/results.json
	$(BIN)/python -m benchmarks

umap: $(READY) ## Install the optional extra behind embed.method=umap
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-umap.txt

lock: $(READY) ## Pin the dependencies anew, each to its newest release
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 -c requirements.txt requirements-umap.in -o requirements-umap.txt

clean-env: ## Remove .venv
	rm -rf .venv
