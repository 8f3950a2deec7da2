# Every target below sets itself up, from an empty clone on: one environment in .venv, nothing outside this folder.
#
# PyTorch's default for Linux brings several gigabytes of CUDA. For a processor-only install give pip the options that
# PyTorch's "Get Started" page shows for compute platform CPU, in the one variable meant for it:
#     make demo TORCH_ARGS="--index-url ADDRESS-FROM-THAT-PAGE"

.DEFAULT_GOAL := help
.NOTPARALLEL:  # tests run from the cheapest to the dearest, whatever -j says
.SUFFIXES:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# the first of these that runs and is new enough
new_enough = -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null
PY ?= $(shell for python in python3.12 python3; do "$$python" $(new_enough) && echo "$$python" && break; done)
TORCH ?= torch==2.13.0 torchvision==0.28.0
TORCH_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALLED := .venv/.installed
DEV := .venv/.installed-dev
WRITTEN := nbs $(wildcard tests tools bench)# what ruff looks at; sonic/ is exported from nbs
# the parts of make test run two notebooks at a time, so numerical libraries get one thread each
export OMP_NUM_THREADS ?= 1
# another environment that happens to be active is not the one used here, and IPython would warn of it
unexport VIRTUAL_ENV
# notebooks are done in a few minutes; a worker that waits for ever must not (macOS has no timeout)
PATIENCE := $(if $(shell command -v timeout),timeout 900)

say = @echo "── $(1)"

# ---- for everybody

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
	    printf 'make %-10s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: $(INSTALLED) ## make a small collection of music, render it, and say what to open
	$(call say,demo: music in four kinds of pictures, in demo/)
	@$(BIN)/sonic demo demo

.PHONY: lab
lab: $(DEV) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab nbs/index.ipynb

.PHONY: test
test: lint types fresh notebooks docs unit ## run every check there is, cheapest first

# ---- for those who change something

.PHONY: check
check: $(DEV) ## before a commit: format, export, clean, README, lint, types
	$(call say,format the notebooks; export sonic/ from them; write README.md)
	@$(BIN)/ruff format --quiet $(WRITTEN)
	@$(BIN)/nbdev-export
	@$(BIN)/nbdev-clean
	@$(BIN)/python tools/docs.py readme
	@$(MAKE) lint types

.PHONY: lint
lint: $(DEV) ## ruff on notebooks, tests and tools
	$(call say,lint: ruff)
	@$(BIN)/ruff check --quiet $(WRITTEN)
	@$(BIN)/ruff format --check --quiet $(WRITTEN) || { echo "not formatted: run make check"; exit 1; }

.PHONY: types
types: $(DEV) ## mypy on the library
	$(call say,types: mypy)
	@$(BIN)/mypy

# compared with what was there before, not with the last commit: it says the same with and without uncommitted changes
state = find nbs sonic \( -name '*.ipynb' -o -name '*.py' \) -not -path '*/.ipynb_checkpoints/*' -exec cksum {} + | sort -k 3

.PHONY: fresh
fresh: $(DEV) ## sonic/ is what the notebooks export, and the notebooks are clean
	$(call say,fresh: exporting and cleaning leave no difference)
	@before=$$($(state)); $(BIN)/nbdev-export; $(BIN)/nbdev-clean; after=$$($(state)); \
	diff <(echo "$$before") <(echo "$$after") || \
	    { echo "these were not what the notebooks say; they are now: see git diff, then commit"; exit 1; }

.PHONY: notebooks
notebooks: $(DEV) ## run every notebook, slow cells too
	$(call say,notebooks: nbdev_test)
	@# nbdev ends its processes without the clean-up by which joblib takes back folders that it never made
	@PYTHONWARNINGS="ignore:resource_tracker" $(PATIENCE) $(BIN)/nbdev_test --n-workers 2 --flags slow || \
	    { code=$$?; [ $$code -ne 124 ] || echo "the notebooks were not done in 15 minutes"; exit $$code; }

.PHONY: docs
docs: $(DEV) ## build the documentation into _docs/ and check every link
	$(call say,docs: _docs/index.html)
	@$(BIN)/python tools/docs.py build
	@$(BIN)/python tools/docs.py check-readme

.PHONY: readme
readme: $(DEV) ## write README.md from nbs/index.ipynb
	@$(BIN)/python tools/docs.py readme

.PHONY: unit
unit: $(DEV) ## the tests that a notebook cannot show
	$(call say,unit: pytest)
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

# tests/lab.py looks for the same names
CHROMIUM := chromium chromium-browser google-chrome

.PHONY: browser
browser: ## install Chromium for the browser tests, where the system allows it
	@for name in $(CHROMIUM); do ! command -v "$$name" >/dev/null || exit 0; done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" -eq 0 ]; then \
	    echo "── browser: apt-get install chromium"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu >/dev/null && exit 0; \
	fi; \
	echo "The browser tests need Chromium or Chrome: install it so that the shell knows it as one of $(CHROMIUM)"; exit 1

.PHONY: postgres
postgres: ## install PostgreSQL for the tests of shared studies, where the system allows it
	@for place in $$(command -v initdb) /usr/lib/postgresql/*/bin/initdb; do [ ! -x "$$place" ] || exit 0; done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" -eq 0 ]; then \
	    echo "── postgres: apt-get install postgresql"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    mkdir -p /etc/postgresql-common; echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf; \
	    apt-get update -qq && apt-get install -qq -y --no-install-recommends postgresql >/dev/null && exit 0; \
	fi; \
	echo "The tests of shared studies need PostgreSQL's initdb; without it they are skipped"; exit 1

# settings for a first look; the head of each file says what else it takes
BENCHES := "render.py --short" "scale.py --short" batch.py "index.py 5000" "log.py 1" "musicnn.py 1" "neighbours.py 2000" "recommend.py 20000 10000 1"

.PHONY: bench
bench: $(DEV) ## time SONIC against its peers for a few minutes; figures of rendering go to bench/results/
	@for run in $(BENCHES); do echo "── bench/$$run"; $(BIN)/python bench/$$run; done

.PHONY: clean
clean: ## remove what was built, but not .venv
	@rm -rf _proc _docs demo build dist nbs/nbdev.yml .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find nbs sonic tests tools bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# ---- the environment

# torch by itself and first: its options (TORCH_ARGS) would hide every other package from pip
$(INSTALLED): Makefile settings.ini setup.py pyproject.toml
	@[ -n "$(PY)" ] && "$(PY)" $(new_enough) || \
	    { echo "SONIC needs Python 3.12 or newer: install it, or say where it is with PY=/path/to/python3.12"; exit 1; }
	$(call say,environment: .venv with $(PY))
	@[ -x $(BIN)/python ] || "$(PY)" -m venv .venv
	$(call say,install: $(TORCH))
	@$(PIP) $(TORCH_ARGS) $(TORCH)
	$(call say,install: sonic)
	@$(PIP) --editable ".[av]"
	@touch $@

$(DEV): $(INSTALLED)
	$(call say,install: what tests and documentation need)
	@$(PIP) --editable ".[dev]"
	@touch $@
