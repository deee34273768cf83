# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need Python 3.11+, make and a package index; the environment is made in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
UV_VERSION := 0.13.8
MEMBERS := $(patsubst %/pyproject.toml,%,$(wildcard packages/*/pyproject.toml apps/*/pyproject.toml servers/*/pyproject.toml))
MANIFESTS := pyproject.toml constraints.txt $(addsuffix /pyproject.toml,$(MEMBERS))
export UV_NO_PROGRESS := 1

.PHONY: help
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- set-up

.PHONY: setup
setup: .venv/.ready ## create .venv with every package (editable) and the development tools

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: cannot set up: $(PYTHON) is older than Python 3.11. Say which to use: make PYTHON=python3.13 setup"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.packages: $(MANIFESTS) | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(PY) --constraints constraints.txt --group demo $(addprefix --editable ./,$(MEMBERS))
	@touch $@

.venv/.ready: .venv/.packages
	$(BIN)/uv pip install --quiet --python $(PY) --constraints constraints.txt --group dev
	@touch $@

.PHONY: lock
lock: | $(BIN)/uv ## compile constraints.txt anew from what the packages ask for
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate \
	  $(foreach m,$(MEMBERS),--no-emit-package $(notdir $(m))) --group dev --group docs $(addsuffix /pyproject.toml,$(MEMBERS)) --output-file constraints.txt

# ---------------------------------------------------------------- use

.PHONY: demo
demo: .venv/.packages ## run the agent on this repository, kill it in a tool call, resume it, show the trace
	@$(PY) tools/demo.py

.PHONY: docs
docs: setup ## build the documentation site into site/
	@$(BIN)/uv pip install --quiet --python $(PY) --constraints constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

.PHONY: bench
bench: setup ## measure every claim about speed and size, each beside its rival in the same run
	@missed=0; for file in benchmarks/*.py; do echo; echo "== $$file"; $(PY) $$file || missed=1; done; exit $$missed

# ---------------------------------------------------------------- check

WORKERS ?= 3
PYTEST_ARGS ?=
PROSE = $$(git ls-files '*.py' '*.md' ':!packages/loom-tailcalls/tests/proof/corpus')

.PHONY: fmt
fmt: setup ## format the code, fix what the linter can, and update the tree in CONTRIBUTING.md
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(PY) tools/wrap_prose.py $(PROSE)
	$(PY) tools/tree.py --write CONTRIBUTING.md

.PHONY: lint
lint: setup ## every gate: format, rules, types, imports, and the rules of tools/gates.py
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy $(wildcard $(addsuffix /src,$(MEMBERS))) tools
	$(BIN)/lint-imports --no-logo
	$(PY) tools/gates.py
	$(PY) tools/wrap_prose.py --check $(PROSE)

.PHONY: test
test: setup test-workspace test-alone test-pythons ## all tests: with coverage here; each wheel alone; on other Pythons what depends on them

.PHONY: quick
quick: setup ## the tests of the workspace, without coverage and slow sweeps; PYTEST_ARGS="packages/flow-xray -k journal"
	$(PY) -m pytest -n $(WORKERS) -m "not slow" $(PYTEST_ARGS)

.PHONY: test-workspace
test-workspace: setup
	@rm -f .coverage .coverage.*
	$(PY) -m coverage run -m pytest -n $(WORKERS) $(PYTEST_ARGS)
	@$(PY) tools/coverage_floors.py

.PHONY: test-alone
test-alone: setup
	$(PY) tools/isolated.py --alone --workers $(WORKERS)

.PHONY: test-pythons
test-pythons: setup
	$(PY) tools/isolated.py --python $(filter-out $(shell $(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null),3.11 3.12 3.13) --workers $(WORKERS)

SEED ?=

.PHONY: fuzz
fuzz: setup ## compare N=10000 generated programs with plain recursion (SEED=1 repeats a sweep)
	cd packages/loom-tailcalls/tests/proof && ../../../../$(PY) -m loom_proof.sweep --number $(or $(N),10000) $(if $(SEED),--seed $(SEED))

.PHONY: crash
crash: setup ## kill the runner N=1000 times and count what was lost or repeated (SEED=1 repeats a sweep)
	$(PY) -m loom_runner.testing --number $(or $(N),1000) $(if $(SEED),--seed $(SEED))

.PHONY: mcp-clients
mcp-clients: setup ## drive the MCP servers with the official TypeScript client, over stdio and HTTP (needs npm)
	$(PY) -m tests.mcp_clients

.PHONY: redteam
redteam: setup ## try to get past every defence, and past a planted hole in each (AREA="git people", ONLY=text)
	$(PY) -m tests.redteam $(AREA) $(if $(ONLY),--only "$(ONLY)")

.PHONY: peek
peek: setup ## kill the runner N=300 times while other SQLite libraries use its database (SEED=1 repeats a sweep)
	$(PY) -m loom_runner.testing peek --number $(or $(N),300) $(if $(SEED),--seed $(SEED))

.PHONY: power
power: setup ## take the power away, and let the disk refuse, after every operation on it (EVERY=7: each 7th)
	$(PY) -m loom_runner.testing power --every $(or $(EVERY),1) $(if $(SEED),--seed $(SEED))
	$(PY) -m loom_runner.testing faults --every $(or $(EVERY),1)

.PHONY: kill
kill: setup ## kill a recorder N=200 times and look for lost spans (SEED=1 repeats a sweep)
	$(PY) -m flow_xray.testing --number $(or $(N),200) $(if $(SEED),--seed $(SEED))

.PHONY: crash-agent
crash-agent: setup ## kill an agent at work N=200 times and compare what it leaves (SEED=1 repeats a sweep)
	$(PY) -m loom_agents.testing --number $(or $(N),200) $(if $(SEED),--seed $(SEED))

.PHONY: crash-ops
crash-ops: setup ## kill an incident N=50 times and compare what it leaves (SEED=1 repeats a sweep)
	$(PY) -m loom_ops.testing --number $(or $(N),50) $(if $(SEED),--seed $(SEED))

.PHONY: clean
clean: ## remove what is built (not .venv)
	rm -rf build site .coverage* .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
