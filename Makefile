# make repro runs the pipeline, make test checks the code, make report shows the effects of a change. Targets set up
# .venv if necessary.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env install repro back mnist verify report gate metrics experiments compare explore limits pictures comment test quick coverage lint format bench gpu calibration faults study score search umap lock clean-env

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## Set up .venv with the pinned dependencies

# .ready is the requirements.txt that .venv was set up with. Where it is the same, an older .venv is up to date: one that
# is a link to that of another clone, or comes from a cache.
$(READY): requirements.txt
	@cmp -s requirements.txt $(READY) || $(MAKE) --no-print-directory install
	@$(BIN)/python -m review.plots_page .venv/share/vae/plots.html || echo 'The pages of dvc plots will load Vega from the web.'
	@cp requirements.txt $(READY)

# pip installs only uv, checked against the hashes in requirements.txt. uv installs the rest much faster than pip.
# The .pth file puts .venv/bin first on PATH whenever .venv's Python starts, so that `.venv/bin/dvc repro` runs
# its stages, and its queue workers, in .venv even if it is not activated.
install:
	@test ! -L .venv || { echo ".venv is a link to $$(readlink .venv), which was set up with another requirements.txt. Run make env there, or remove the link."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@rm -f $(READY)
	$(PYTHON) -m venv .venv
	@awk '/^[^ ]/ {wanted = /^uv==/} wanted' requirements.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "stages_path.pth").write_text("import os, sys; os.environ[\"PATH\"] = os.pathsep.join([os.path.join(sys.prefix, \"bin\"), os.environ.get(\"PATH\", os.defpath)])\n")'

repro: $(READY) ## Run the pipeline: those of the five stages that changed
	@$(BIN)/python -m workspace.recover
	$(BIN)/dvc repro

back: $(READY) ## Bring the committed results back to the workspace; code and parameters keep their changes
	@$(BIN)/python -m workspace.restore

# Replaces an experiment of that name at this commit. DVC takes stages that already ran with the same inputs from its
# cache, so nothing is computed twice.
mnist: $(READY) ## Run the pipeline on MNIST with recipes/mnist, as an experiment named mnist
	@$(BIN)/python -m workspace.recover
	@! $(BIN)/dvc exp list --name-only | grep -qx mnist || $(BIN)/dvc exp remove --quiet mnist
	$(BIN)/dvc exp run --name mnist $$(cat recipes/mnist)

verify: $(READY) ## Fail if dvc.lock, metrics or plots do not match the code and the parameters
	@dvc repro --dry --allow-missing > .venv/verify.log 2>&1 && ! grep -q '^Running stage' .venv/verify.log \
		|| { cat .venv/verify.log; echo 'dvc.lock is not up to date: run make repro and commit the changes.'; exit 1; }
	@echo 'dvc.lock is up to date.'

# BASE and HEAD are commits, branches, tags or experiments. Without HEAD, the workspace is used.
BASE ?= main

report: $(READY) ## Compare the workspace, or HEAD=…, with BASE=main; write report/
	@$(BIN)/python -m review.report $(BASE) $(HEAD) $(if $(OUT),--out $(OUT)) $(if $(IMAGE_ROOT),--image-root $(IMAGE_ROOT)) $(if $(filter no,$(IMAGES)),--no-images)

gate: $(READY) ## Fail if a metric is worse than at BASE=main by more than its limit; METRIC=… MAX_WORSE=… set one limit
	@$(BIN)/python -m review.gate $(BASE) $(HEAD) $(if $(METRIC),--metric $(METRIC)) $(if $(MAX_WORSE),--max-worse $(MAX_WORSE))

metrics: $(READY) ## List all metrics, for METRICS=…
	@$(BIN)/python -m review.experiments --list-metrics

experiments: $(READY) ## List the experiments of this commit, with names for dvc exp apply; METRICS=… to choose
	@$(BIN)/python -m review.experiments $(if $(METRICS),--metrics $(METRICS)) $(if $(HIGHEST_FIRST),--highest-first)

# The best run comes first if limits.yaml has the first metric; else the lowest, or with HIGHEST_FIRST=1 the highest.
compare: $(READY) ## Compare EXPERIMENTS=… (default: all), sorted by the first of METRICS=…; write comparison/
	@$(BIN)/python -m review.compare $(EXPERIMENTS) $(if $(METRICS),--metrics $(METRICS)) \
		$(if $(HIGHEST_FIRST),--highest-first) $(if $(OUT),--out $(OUT))

explore: $(READY) ## Show the models of A=… and B=workspace side by side in the browser; write explore/
	@test -n '$(A)' || { echo 'Set A=… to a commit, branch, tag or experiment.'; exit 2; }
	@$(BIN)/python -m review.explore '$(A)' $(if $(B),'$(B)') $(if $(OUT),--out '$(OUT)')

limits: $(READY) ## Measure the spread of metrics over ten seeds, and write limits.yaml
	$(BIN)/dvc exp run --queue -S 'train.seed=range(1,11)'
	$(BIN)/dvc exp run --run-all --jobs 2
	$(BIN)/python -m review.spread

# Pushes a commit without history that contains only the pictures, so that the branch does not grow. The folder has the
# name of the reviewed commit, so that caches do not show earlier pictures.
pictures: ## Push the pictures of report/ for a comment on pull request PR=…
	@test -n '$(PR)' || { echo 'Set PR=… to the number of the pull request.'; exit 2; }
	@export GIT_DIR="$$(git rev-parse --absolute-git-dir)" && export GIT_INDEX_FILE="$$GIT_DIR/report.index" \
		&& rm -f "$$GIT_INDEX_FILE" && cd report && git --work-tree=. add --force -- '*.png' \
		&& tree=$$(printf '040000 tree %s\t%s\n' $$(git write-tree) $(or $(COMMIT),$$(git rev-parse HEAD)) | git mktree) \
		&& git push --quiet --force origin $$(git commit-tree $$tree -m 'Pictures of a report'):refs/heads/reports/pull-request-$(PR)

comment: $(READY) ## Post report/report.md on pull request PR=…, or replace an earlier report
	@$(BIN)/python -m review.comment $(PR)

# Files of tests are handed out in the order of tests/conftest.py: those that take longest first.
test: lint ## Run every check: format, lint, types, tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

quick: lint ## Run lint, types and the fast tests, in one to three minutes
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m 'not slow' --quiet -rNfE

coverage: $(READY) ## Run all tests and list uncovered lines of the packages; fail below 95 %
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --quiet --cov --cov-report term-missing:skip-covered

lint: $(READY) ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## Format the code and fix what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(READY) ## Measure speed and memory; write benchmarks/results.json
	$(BIN)/python -m benchmarks

gpu: $(READY) ## On a machine with a CUDA device: tests, bench and MNIST in half an hour; write gpu/
	@$(BIN)/python -m benchmarks.gpu

# Needs the archives of MNIST, in the download folder or by download. Takes twelve minutes on one core.
calibration: $(READY) ## Check the verdicts on data and models made worse step by step; write docs/calibration.md
	$(BIN)/python -m calibration

# CASES is the number of faults of each part; 100 take an hour or two. `python -m faults PART` runs a single part.
faults: $(READY) ## Provoke CASES=20 faults of each kind in copies of the project: kills, full disks, damage
	$(BIN)/python -m faults $(if $(CASES),--cases $(CASES))

# Each trial is an experiment in a clone of its own. The same command goes on with an interrupted study.
study: $(READY) ## Search over parameters as STUDY=studies/digits.yaml says; SCHEDULER=… WORKERS=…; write study/
	@test -n '$(STUDY)' || { echo 'Set STUDY=… to a file of studies/.'; exit 2; }
	@$(BIN)/python -m search $(STUDY) $(if $(SCHEDULER),--scheduler $(SCHEDULER)) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(OUT),--out $(OUT))

# Exits with status 1 if files could not be used, 2 if nothing was written.
score: $(READY) ## Score the images of the folder IMAGES=… with MODEL=models/vae.safetensors; write scores/
	@test -n '$(IMAGES)' || { echo 'Set IMAGES=… to a folder of images.'; exit 2; }
	@$(BIN)/python -m scoring '$(IMAGES)' $(if $(MODEL),--model '$(MODEL)') $(if $(TRAIN),--train '$(TRAIN)') \
		$(if $(OUT),--out '$(OUT)')

search: $(READY) ## Install the optional dependencies of make study
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-search.txt

umap: $(READY) ## Install the optional dependency of embed.method=umap
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-umap.txt

lock: $(READY) ## Pin each dependency to its newest release
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 -c requirements.txt requirements-umap.in -o requirements-umap.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 -c requirements.txt requirements-search.in -o requirements-search.txt

clean-env: ## Remove .venv
	-$(BIN)/dvc config --quiet --local --unset plots.html_template
	rm -rf .venv
