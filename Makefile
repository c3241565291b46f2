# make repro runs the pipeline, make test proves it, make report shows what a change changed; each sets up .venv where it
# is missing.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env repro mnist verify report gate experiments compare limits pictures comment test quick coverage lint format bench umap lock clean-env

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## Set up .venv with the pinned dependencies

# pip installs uv alone, by the hashes in requirements.txt; uv installs the rest in a fraction of pip's time.
# The .pth file puts .venv/bin first on PATH whenever .venv's Python starts, so that `.venv/bin/dvc repro` runs
# its stages, and its queue workers, in .venv though nobody activated it. The last two lines let the pages of
# `dvc plots show` and `dvc plots diff` do without the web.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@rm -f $(READY)
	$(PYTHON) -m venv .venv
	@awk '/^[^ ]/ {wanted = /^uv==/} wanted' requirements.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "stages_path.pth").write_text("import os, sys; os.environ[\"PATH\"] = os.pathsep.join([os.path.join(sys.prefix, \"bin\"), os.environ.get(\"PATH\", os.defpath)])\n")'
	@$(BIN)/python -m review.plots_page .venv/share/vae/plots.html
	@test ! -d .git || $(BIN)/dvc config --quiet --local plots.html_template "$(CURDIR)/.venv/share/vae/plots.html"
	@touch $(READY)

repro: $(READY) ## Run the pipeline: what changed since the last run, of the five stages
	$(BIN)/dvc repro

# An experiment of that name may exist at this commit; it is replaced. DVC takes each stage that has run with the same
# inputs from its cache, so what is done is not done again.
mnist: $(READY) ## Run the pipeline on MNIST by the recipe recipes/mnist, as an experiment named mnist
	@! $(BIN)/dvc exp list --name-only | grep -qx mnist || $(BIN)/dvc exp remove --quiet mnist
	$(BIN)/dvc exp run --name mnist $$(cat recipes/mnist)

verify: $(READY) ## Fail unless dvc.lock, metrics and plots are those of this code and these parameters
	@dvc repro --dry --allow-missing > .venv/verify.log 2>&1 && ! grep -q '^Running stage' .venv/verify.log \
		|| { cat .venv/verify.log; echo 'dvc.lock is not up to date: run make repro, and commit what it changes.'; exit 1; }
	@echo 'dvc.lock is up to date.'

# BASE and HEAD are commits, branches, tags or experiments; without HEAD the workspace as it is.
BASE ?= main

report: $(READY) ## Compare with BASE (main): report/; HEAD=… for another revision than the workspace
	$(BIN)/python -m review.report $(BASE) $(HEAD) $(if $(OUT),--out $(OUT)) $(if $(IMAGE_ROOT),--image-root $(IMAGE_ROOT))

gate: $(READY) ## Fail where a metric is worse than at BASE (main) by more than limits.yaml, or METRIC=… by MAX_WORSE=…
	@$(BIN)/python -m review.gate $(BASE) $(HEAD) $(if $(METRIC),--metric $(METRIC)) $(if $(MAX_WORSE),--max-worse $(MAX_WORSE))

experiments: $(READY) ## List the experiments of this commit: what differs, the METRICS=…, names for dvc exp apply
	@$(BIN)/python -m review.experiments $(if $(METRICS),--metrics $(METRICS)) $(if $(HIGHEST_FIRST),--highest-first)

# The best comes first where limits.yaml says which way is better, else the lowest, or by HIGHEST_FIRST=1 the highest.
compare: $(READY) ## Compare experiments, sorted by the first of METRICS=…; EXPERIMENTS=… for some: comparison/comparison.md
	@$(BIN)/python -m review.compare $(EXPERIMENTS) $(if $(METRICS),--metrics $(METRICS)) \
		$(if $(HIGHEST_FIRST),--highest-first) $(if $(OUT),--out $(OUT))

limits: $(READY) ## Measure how far metrics differ by the seed alone, over ten seeds, and write limits.yaml
	$(BIN)/dvc exp run --queue -S 'train.seed=range(1,11)'
	$(BIN)/dvc exp run --run-all --jobs 2
	$(BIN)/python -m review.spread

# The pictures alone, in a commit without history: the branch holds those of the last report only. Their folder is named
# after the commit that is reviewed, so that no cache shows those of an earlier one.
pictures: ## Push the pictures of report/ to origin, branch reports/pull-request-PR=…, where a comment can show them
	@test -n '$(PR)' || { echo 'Which pull request? PR=…'; exit 2; }
	@export GIT_DIR="$$(git rev-parse --absolute-git-dir)" && export GIT_INDEX_FILE="$$GIT_DIR/report.index" \
		&& rm -f "$$GIT_INDEX_FILE" && cd report && git --work-tree=. add --force -- '*.png' \
		&& tree=$$(printf '040000 tree %s\t%s\n' $$(git write-tree) $(or $(COMMIT),$$(git rev-parse HEAD)) | git mktree) \
		&& git push --quiet --force origin $$(git commit-tree $$tree -m 'Pictures of a report'):refs/heads/reports/pull-request-$(PR)

comment: $(READY) ## Post report/report.md on the pull request PR=…, in the place of an earlier report
	@$(BIN)/python -m review.comment $(PR)

test: lint ## Run every check: format, lint, types, tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

quick: lint ## Run lint, types and the tests that matter most, in about a minute: for use while working
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m 'not slow' --quiet -rNfE

coverage: $(READY) ## Run all tests and list the lines of vae, stages and review that they do not run; fail below 95 %
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --quiet --cov --cov-report term-missing:skip-covered

lint: $(READY) ## Check format, style and types alone
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## Format the code and fix what the linter can
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
	-$(BIN)/dvc config --quiet --local --unset plots.html_template
	rm -rf .venv
