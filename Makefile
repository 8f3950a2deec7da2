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
# requirements.lock: install exactly what it lists, each file checked against its hash (TORCH_ARGS is then not asked)
LOCK ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALLED := .venv/.installed
DEV := .venv/.installed-dev
WRITTEN := nbs $(wildcard tests tools bench examples)# what ruff looks at; sonic/ is exported from nbs
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
	    printf 'make %-13s %s\n' "$$target" "$$text"; done

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
lint: $(DEV) ## ruff on notebooks, tests, tools and examples
	$(call say,lint: ruff)
	@$(BIN)/ruff check --quiet $(WRITTEN)
	@$(BIN)/ruff format --check --quiet $(WRITTEN) || { echo "not formatted: run make check"; exit 1; }

.PHONY: types
types: $(DEV) ## mypy on the library
	$(call say,types: mypy)
	@$(BIN)/mypy
	@for package in $(wildcard examples/*); do $(BIN)/mypy "$$package"; done

# compared with what was there before, not with the last commit: it says the same with and without uncommitted changes
state = find nbs sonic \( -name '*.ipynb' -o -name '*.py' \) -not -path '*/.ipynb_checkpoints/*' -exec cksum {} + | sort -k 3

.PHONY: fresh
fresh: $(DEV) ## sonic/ is what the notebooks export, and the notebooks are clean
	$(call say,fresh: exporting and cleaning leave no difference)
	@before=$$($(state)); $(BIN)/nbdev-export; $(BIN)/nbdev-clean; after=$$($(state)); \
	diff <(echo "$$before") <(echo "$$after") || \
	    { echo "these were not what the notebooks say; they are now: see git diff, then commit"; exit 1; }

.PHONY: notebooks
notebooks: $(DEV) ## run every notebook, slow cells too, without a network
	$(call say,notebooks: nbdev_test)
	@# nbdev ends its processes without the clean-up by which joblib takes back folders that it never made
	@PYTHONPATH="$(CURDIR)/tests/offline" PYTHONWARNINGS="ignore:resource_tracker" $(PATIENCE) $(BIN)/nbdev_test --n-workers 2 --flags slow || \
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
BENCHES := "render.py --short" "scale.py --short" "faults.py --tracks 100 --kills 3" batch.py "index.py 5000" "log.py 1" "musicnn.py 1" "neighbours.py 2000" "recommend.py 20000 10000 1"

.PHONY: bench
bench: $(DEV) ## time SONIC against its peers for a few minutes; figures of rendering go to bench/results/
	@for run in $(BENCHES); do echo "── bench/$$run"; $(BIN)/python bench/$$run; done

.PHONY: clean
clean: ## remove what was built, but not .venv
	@rm -rf _proc _docs demo build dist nbs/nbdev.yml .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find nbs sonic tests tools bench examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# ---- a release

.PHONY: release-check
release-check: ## build wheel and source distribution, and try both in an empty environment
	@$(MAKE) dist installs

# the wheel is built from the source distribution, so that one is whole
.PHONY: dist
dist: $(DEV) ## build wheel and source distribution into dist/
	$(call say,dist: wheel and source distribution)
	@rm -rf build dist
	@$(BIN)/python -m build --no-isolation >/dev/null
	@ls dist

# What a stranger gets: what the wheel asks for and nothing more, in the versions of the lock, with this folder out of sight.
# The environment takes several gigabytes of the folder for temporary files and is removed at the end.
.PHONY: installs
installs: ## install what lies in dist/ into an empty environment, and run the demo from there
	@[ -n "$(PY)" ] && "$(PY)" $(new_enough) || { echo "SONIC needs Python 3.12 or newer: say where it is with PY="; exit 1; }
	$(call say,installs: an empty environment with $(PY))
	@room=$$(mktemp -d); trap 'rm -rf "$$room"' EXIT; dist="$(CURDIR)/dist"; unset PYTHONPATH; \
	sed -n 's/^\([A-Za-z0-9].*[^ ]\) \\$$/\1/p' requirements.lock >"$$room/pins"; \
	"$(PY)" -m venv "$$room/env"; cd "$$room"; \
	pip="env/bin/python -m pip install --quiet --disable-pip-version-check --constraint pins"; \
	$(if $(TORCH_ARGS),$$pip $(TORCH_ARGS) $(TORCH);) \
	$$pip --only-binary :all: "$$dist"/*.whl; \
	env/bin/python -m pip --disable-pip-version-check check; \
	env/bin/python -c 'import sonic, sys; assert sonic.__file__.startswith(sys.prefix), sonic.__file__'; \
	SONIC_CACHE="$$room/cache" env/bin/sonic demo demo; [ -s demo/index.html ]; \
	$$pip --no-deps --force-reinstall "$$dist"/*.tar.gz; \
	env/bin/sonic --version; du -sh env | cut -f 1

# ---- the environment

# torch by itself and first: its options (TORCH_ARGS) would hide every other package from pip.
# From the lock everything comes at once, and nothing is built on the way but SONIC, by the setuptools that is in the lock.
$(INSTALLED): Makefile settings.ini setup.py pyproject.toml $(LOCK)
	@[ -n "$(PY)" ] && "$(PY)" $(new_enough) || \
	    { echo "SONIC needs Python 3.12 or newer: install it, or say where it is with PY=/path/to/python3.12"; exit 1; }
	$(call say,environment: .venv with $(PY))
	@[ -x $(BIN)/python ] || "$(PY)" -m venv .venv
ifdef LOCK
	$(call say,install: what $(LOCK) lists)
	@$(PIP) --require-hashes --requirement $(LOCK)
	@$(PIP) --no-deps --no-build-isolation --editable .
else
	$(call say,install: $(TORCH))
	@$(PIP) $(TORCH_ARGS) $(TORCH)
	$(call say,install: sonic)
	@$(PIP) --editable ".[av]"
endif
	@touch $@

$(DEV): $(INSTALLED)
ifndef LOCK
	$(call say,install: what tests and documentation need)
	@$(PIP) --editable ".[dev]"
endif
	@touch $@

# Versions that are locked and still fit stay; `make lock UPGRADE=--upgrade` takes the newest of all, and
# `UPGRADE="--upgrade-package pillow"` of one. uv gets a folder of its own, since it is not needed for anything else.
wanted := 'from configparser import ConfigParser as C; c = C(); c.read("settings.ini", encoding="utf-8"); d = c["DEFAULT"]; \
    print(d["requirements"], d["dev_requirements"], *"$(TORCH) setuptools>=77".split(), sep="\n")'
.PHONY: lock
lock: ## write requirements.lock anew: every version and hash, for every system
	@[ -n "$(PY)" ] || { echo "make lock needs Python 3.12 or newer"; exit 1; }
	$(call say,lock: requirements.lock)
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; "$(PY)" -m venv "$$tools"; \
	"$$tools/bin/pip" install --quiet --disable-pip-version-check uv; \
	"$(PY)" -c $(wanted) >"$$tools/all.in"; \
	UV_CUSTOM_COMPILE_COMMAND="make lock" "$$tools/bin/uv" pip compile --quiet --no-cache $(UPGRADE) --universal --python-version 3.12 \
	    --generate-hashes --only-binary :all: --emit-build-options --no-annotate \
	    --output-file requirements.lock "$$tools/all.in"
